"""Two dumps side by side: what belongs together, and whether it differs. NumPy only; nothing here prints."""
