"""What the terminal behind stdout can show: how wide it is, and whether it takes colors."""

import os
import shutil
import sys
from dataclasses import dataclass
from typing import TextIO

BOLD, DIM, RED, GREEN, YELLOW = "1", "2", "31", "32", "33"
"""Ways to write, as the numbers that ECMA-48 gives them ("select graphic rendition")."""


@dataclass(frozen=True)
class Terminal:
    """How to write: `columns` in a line (None where lines have no end), with colors or not, and what marks a gap."""

    columns: int | None = None
    color: bool = False
    ellipsis: str = "..."

    def styled(self, text: str, *styles: str) -> str:
        """Return text in some styles, or as it is where the terminal shows none."""
        return f"\x1b[{';'.join(styles)}m{text}\x1b[0m" if self.color and styles and text else text


def stdout_terminal() -> Terminal:
    """Return the terminal behind stdout; where there is none, lines have no end and text has no color."""
    return _terminal(sys.stdout)


def stderr_terminal() -> Terminal:
    """Return the terminal behind stderr, as `stdout_terminal` does."""
    return _terminal(sys.stderr)


def _terminal(stream: TextIO) -> Terminal:
    if not stream.isatty():
        return Terminal()
    color = "TERM" in os.environ and not is_dumb() and not os.environ.get("NO_COLOR")
    return Terminal(shutil.get_terminal_size().columns, color, "\N{HORIZONTAL ELLIPSIS}" if _has_it(stream) else "...")


def is_dumb() -> bool:
    """Tell whether the terminal says that it takes no commands to move the cursor and to color text."""
    return os.environ.get("TERM") in ("", "dumb", "unknown")


def _has_it(stream: TextIO) -> bool:
    """Tell whether the encoding of a stream has the ellipsis as one character."""
    try:
        "\N{HORIZONTAL ELLIPSIS}".encode(stream.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True
