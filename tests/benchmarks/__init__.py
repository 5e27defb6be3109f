"""What the issue promises of speed and memory, measured: `make bench`."""
