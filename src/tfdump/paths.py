"""What a path leads to, asked in a way that cannot fail with a traceback."""

import stat
from pathlib import Path

from tfdump.errors import TfdumpError, with_article


def check_path(path: Path, what: str, error: type[TfdumpError]) -> None:
    """Raise `error` unless `path` is a regular file or a folder; `what` is what it should be, for the message."""
    mode = mode_of(path, what, error)
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise error(f"{path} is not a regular file, and {with_article(what)} cannot be read from anything else")


def mode_of(path: Path, what: str, error: type[TfdumpError]) -> int:
    """Return the mode of what is there; raises `error` when nothing is, or when it cannot be looked at."""
    try:
        return path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        raise error(f"no such {what}: {path}") from None
    except (OSError, ValueError) as cause:
        raise error(f"cannot look at {path}: {getattr(cause, 'strerror', None) or cause}") from None


def exists(path: Path) -> bool:
    """Tell whether something is there that can be looked at."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False
