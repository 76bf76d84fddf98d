"""Checks of the weights of a model."""
