"""Sums, statistics and histograms of values that arrive batch by batch, in any order. NumPy only."""
