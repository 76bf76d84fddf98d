"""The ranges of tensors, and what numbers of fewer bits would make of them. NumPy only; nothing here prints."""
