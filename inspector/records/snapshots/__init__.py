"""Labelled snapshots: what they say, what was wished for, what changed from one to another. Training takes them."""
