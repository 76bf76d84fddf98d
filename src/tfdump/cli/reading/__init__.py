"""The options of commands that read data which is not arrays."""
