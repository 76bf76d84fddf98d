"""The dump file: the only code that knows the HDF5 layout of docs/format.md."""
