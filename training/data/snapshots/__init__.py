"""Labelled snapshots: what people said of parts up to a moment, with the pictures, in a folder that does not change."""
