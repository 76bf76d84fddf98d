"""What the tensors of a dump are, according to all of their batches."""
