"""From a file to a model, without running code that nobody trusts."""
