"""Models that Keras 2 saved."""
