"""Command line of the runtime."""

from __future__ import annotations


def main() -> None:
    """Entry point of the `inspector` command."""
