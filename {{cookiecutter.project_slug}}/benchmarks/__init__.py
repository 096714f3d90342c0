"""What the loader and the prompt cost, as ratios taken in one run: `make bench`."""
