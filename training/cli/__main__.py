"""So that `python -m training.cli` is `inspector-train`, also where no scripts were installed."""

from training.cli import main

if __name__ == "__main__":
    main()
