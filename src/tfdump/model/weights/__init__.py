"""The weights of a model as tensors, whatever kind of file holds them."""
