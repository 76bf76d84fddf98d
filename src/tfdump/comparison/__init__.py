"""Compares two dumps: which tensors belong together, and whether they differ. NumPy only; nothing here prints."""
