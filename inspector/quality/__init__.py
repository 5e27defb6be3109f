"""Statistics for people who answer for the line: yield, control charts, costs, and whether labels can be trusted. Pure."""
