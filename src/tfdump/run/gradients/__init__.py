"""Gradient runs: the plan, the passes over the batches, and the dump."""
