"""Watching a model's own call: which layer gives which tensor."""
