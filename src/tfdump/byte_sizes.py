"""Numbers of bytes as people read and write them: `512m`, `1.5 GiB`. Pure Python."""

import re

from tfdump.errors import TfdumpError

_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}


def parse_bytes(text: str) -> int:
    """Read a number of bytes such as `256MiB`, `2G` or `1000000`; units are powers of 1024.

    Raises TfdumpError for other text.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(?:i?b)?", text.strip(), re.IGNORECASE)
    if match is None:
        raise TfdumpError(f"'{text}' is not a number of bytes (for example 256MiB, or 2G)")
    count = float(match[1]) * _UNITS[match[2].lower()]
    if count > 1 << 60:
        raise TfdumpError(f"'{text}' is more memory than any machine has (for example 256MiB, or 2G)")
    return int(count)


def show_bytes(count: int) -> str:
    """Return a number of bytes in the largest unit in which it is at least 1."""
    size = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{count} B" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"
