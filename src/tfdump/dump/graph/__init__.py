"""What a dump tells about the graph of its model."""
