"""What can be said of arrays: statistics, histograms and reductions. NumPy only; nothing here prints."""
