"""The tensors of a dump in other formats, as pieces of text or bytes: memory stays flat, and nothing is printed."""
