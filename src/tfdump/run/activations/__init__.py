"""Activation runs: the plan, the pass over the batches, and the dump."""
