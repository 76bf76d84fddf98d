"""A dump, or two of them compared, to one HTML page."""
