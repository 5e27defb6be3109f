"""One folder per model: the network, its fitting, and a README with paper and measured results."""
