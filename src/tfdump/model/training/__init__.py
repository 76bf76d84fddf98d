"""What DumpCallback needs of a model in training."""
