"""The desk of operators and quality engineers: pages and a REST API on one line's records, as a program of its own."""
