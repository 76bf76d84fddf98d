"""The terminal behind stdout or stderr: its width, and whether it shows colors."""

import os
import shutil
import sys
from dataclasses import dataclass
from typing import TextIO

BOLD, DIM, RED, GREEN, YELLOW = "1", "2", "31", "32", "33"
"""Styles, as the numbers of ECMA-48 ("select graphic rendition")."""


@dataclass(frozen=True)
class Terminal:
    """A terminal: the `columns` of a line (None for no limit), whether it shows colors, and the ellipsis."""

    columns: int | None = None
    color: bool = False
    ellipsis: str = "..."

    def styled(self, text: str, *styles: str) -> str:
        """Return text in some styles, or unchanged where the terminal shows none."""
        return f"\x1b[{';'.join(styles)}m{text}\x1b[0m" if self.color and styles and text else text


def stdout_terminal() -> Terminal:
    """Return the terminal behind stdout; without one, lines have no limit and text has no color."""
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
    """Return whether the terminal cannot move the cursor or color text, according to TERM."""
    return os.environ.get("TERM") in ("", "dumb", "unknown")


def _has_it(stream: TextIO) -> bool:
    """Return whether the encoding of a stream has the ellipsis as one character."""
    try:
        "\N{HORIZONTAL ELLIPSIS}".encode(stream.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True
