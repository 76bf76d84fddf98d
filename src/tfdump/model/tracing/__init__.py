"""Tracing a function into a graph, and estimating the memory and side effects of graphs."""
