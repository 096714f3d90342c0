"""What the loader costs, as ratios taken in one run: `make bench`."""
