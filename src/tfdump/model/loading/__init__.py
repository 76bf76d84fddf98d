"""From a file to a model, without running code that the user does not trust."""
