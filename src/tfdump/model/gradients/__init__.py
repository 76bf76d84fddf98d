"""Gradients of weights, activations and inputs, by tapes and per example."""
