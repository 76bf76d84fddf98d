"""Whether both sides of a comparison are about the same examples, by their names."""
