"""Parts of models: what leads from some tensors to another one, as a model of its own."""
