"""Saved models, run and watched: the only package that names tensorflow or keras."""
