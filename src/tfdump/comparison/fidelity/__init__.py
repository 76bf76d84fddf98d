"""What is told of two tensors as a whole: their cosine, and what quantization has cost. Nothing here prints."""
