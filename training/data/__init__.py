"""Data sets: layouts, reading, survey, near-duplicates, splits, cards."""
