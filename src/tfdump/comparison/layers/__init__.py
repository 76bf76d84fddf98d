"""Pairs the layers of two sides."""
