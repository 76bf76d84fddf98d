"""Images: files in folders, patterns and lists, decoded ahead and resized for one input of a model."""
