"""How the bytes of a dump reach the disk."""
