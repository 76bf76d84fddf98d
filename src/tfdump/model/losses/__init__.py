"""What is differentiated: the scalar, by name, function or as compiled."""
