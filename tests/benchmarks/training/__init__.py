"""What the kinds of models reach on the data at hand, against their targets: `make bench-training`, see `__main__`."""
