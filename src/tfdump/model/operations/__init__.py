"""From the operations of a graph to layers and addresses, for SavedModel and TFLite alike."""
