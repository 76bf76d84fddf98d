"""What can be said of arrays: statistics and reductions. NumPy only; nothing here prints."""
