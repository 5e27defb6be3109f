"""Good parts only: distance to a memory of what good parts look like (PatchCore family, Roth et al. 2022)."""
