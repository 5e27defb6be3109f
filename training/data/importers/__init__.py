"""One module per layout that data sets come in: each finds images, labels, areas, parts and lots under a folder."""
