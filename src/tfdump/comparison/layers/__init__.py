"""Which layer of one side is which of the other."""
