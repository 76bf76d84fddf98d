"""`tfdump activations`: what is planned, and how the batches come into the dump."""
