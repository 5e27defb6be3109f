"""Scores and limits to verdicts: pure."""
