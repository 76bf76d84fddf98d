"""Sound files as the arrays of a model."""
