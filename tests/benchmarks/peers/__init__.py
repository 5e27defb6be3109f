"""Other tools on the same images, splits and backbone, each in its own environment: `make peer` makes that of anomalib."""
