"""Cuts down a difference between two sides to a folder that can be attached to a bug report."""
