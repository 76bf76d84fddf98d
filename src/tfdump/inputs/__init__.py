"""Input files as batches of examples: NumPy and h5py only."""
