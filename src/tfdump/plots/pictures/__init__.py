"""One kind of picture a module: arrays in, a Figure out."""
