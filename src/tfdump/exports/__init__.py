"""The tensors of a dump in other formats, as pieces of text or bytes: flat memory, nothing printed."""
