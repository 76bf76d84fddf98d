"""What a caller in Python may give for an argument, and the error that says so where he gave something else."""

import math
import operator
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tfdump.errors import TfdumpError

_LONGEST = 60
"""So many characters of a value stand in an error."""


def shown(value: Any) -> str:
    """Return a value as one short line, for an error."""
    text = " ".join(repr(value).split())
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def flag(name: str, value: Any) -> bool:
    """Return a switch: True or False, of NumPy too, 1 or 0, and None for False; raises TfdumpError for all else."""
    if value is None:
        return False
    try:
        number = operator.index(bool(value) if type(value).__name__ in ("bool", "bool_") else value)
    except TypeError:
        number = -1
    if number not in (0, 1):
        raise TfdumpError(f"{name} {shown(value)} is neither True nor False")
    return bool(number)


def flags(**values: Any) -> dict[str, bool]:
    """Return switches by name; raises TfdumpError for what is none."""
    return {name: flag(name, value) for name, value in values.items()}


def whole_number(name: str, value: Any, least: int = 1) -> int | None:
    """Return a number of Python or NumPy as an int, None as it is; raises TfdumpError for what is below `least`."""
    if value is None:
        return None
    try:
        number = operator.index(value)
    except TypeError:
        number = least - 1
    if number < least or type(value).__name__ in ("bool", "bool_"):
        raise TfdumpError(f"{name} {shown(value)} is not a whole number of at least {least}")
    return number


def real_number(name: str, value: Any, example: float) -> float:
    """Return a number of Python or NumPy as a float; raises TfdumpError, with an example, for what is none."""
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        raise TfdumpError(f"{name} {shown(value)} is not a number (for example {example})") from None


def positive_number(name: str, value: Any) -> float:
    """Return a number above 0; raises TfdumpError for what is none, or has no end."""
    number = real_number(name, value, 1.0)
    if not 0 < number < math.inf:
        raise TfdumpError(f"{name} {shown(value)} is not above 0")
    return number


def text(name: str, value: Any, example: str) -> str | None:
    """Return a text, None as it is; raises TfdumpError, with an example, for what is none."""
    if value is None or isinstance(value, str):
        return value
    raise TfdumpError(f"{name} {shown(value)} is not a string (for example {name}={example!r})")


def one_of(name: str, value: Any, choices: Sequence[str]) -> str | None:
    """Return one of some texts, None as it is; raises TfdumpError for everything else."""
    if value is None or (isinstance(value, str) and value in choices):
        return value
    raise TfdumpError(f"{name} {shown(value)} is not one of {', '.join(choices)}")


def texts(name: str, value: Any, example: str) -> tuple[str, ...]:
    """Return one text or several as a tuple, none for None; raises TfdumpError, with an example, for what is none."""
    if value is None:
        return ()
    try:
        items = (value,) if isinstance(value, (str, bytes)) else tuple(value)
    except (TypeError, NotImplementedError):  # the latter from a KerasTensor
        items = (value,)
    for item in items:
        if not isinstance(item, str):
            raise TfdumpError(f"{name}: {shown(item)} is not a string (for example {name}={example!r})")
    return items


def file_path(name: str, value: Any, advice: str) -> Path:
    """Return the path of a file; raises TfdumpError, with advice, for what is none."""
    if isinstance(value, (str, os.PathLike)):
        path = os.fspath(value)
        if isinstance(path, str):
            return Path(path)
    raise TfdumpError(f"{name} {shown(value)} is not a path to a file ({advice})")
