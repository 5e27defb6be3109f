"""What an evaluation says, for people: counts, curves, pictures and words as one page, and the same as JSON."""
