"""Files of any content: HDF5, paths, limits."""
