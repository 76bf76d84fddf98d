"""Gradients of weights, activations and inputs, summed over a batch or per example."""
