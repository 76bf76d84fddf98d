"""Two models, or a model and a dump, compared batch by batch over the same inputs; nothing is stored."""
