"""Loading models, running them, and recording their tensors: the only package that names tensorflow or keras."""
