"""Which inputs of a model are ids, and below which number: what its embeddings and other tables tell."""
