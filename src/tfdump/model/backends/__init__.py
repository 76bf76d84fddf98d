"""Keras models on another backend or in another environment: a process of its own runs them, and tfdump talks to it."""
