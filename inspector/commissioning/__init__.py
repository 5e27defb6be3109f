"""Commissioning of a camera: what `inspector camera setup` measures live, takes, computes, shows and leaves."""
