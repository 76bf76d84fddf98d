"""What is known of files, whatever they hold: HDF5, paths, limits."""
