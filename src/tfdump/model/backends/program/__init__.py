"""The program of the process that runs a model on a backend; it needs that backend, Keras, NumPy and h5py alone."""
