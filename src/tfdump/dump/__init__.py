"""The dump file: the only code that knows its HDF5 layout."""
