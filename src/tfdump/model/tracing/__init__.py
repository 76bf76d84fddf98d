"""A model as a graph: traced, and asked for its memory and side effects."""
