"""Statistics, histograms and reductions of arrays. NumPy only; nothing here prints."""
