"""What DumpCallback needs while a model is trained."""
