"""Pairs tensors by their values, where names do not tell which belong together."""
