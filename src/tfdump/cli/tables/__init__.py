"""Tables of single commands on a terminal and in a pipe."""
