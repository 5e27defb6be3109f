"""Bundles, the engine that runs their graphs, the golden self-test, and batching across cameras."""
