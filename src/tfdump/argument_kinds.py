"""Checks of arguments of the Python API, with errors that say what was expected."""

import math
import operator
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tfdump.errors import TfdumpError

_LONGEST = 60
"""The number of characters of a value that an error shows."""


def shown(value: Any) -> str:
    """Return a value as one short line, for an error."""
    text = " ".join(repr(value).split())
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def flag(name: str, value: Any) -> bool:
    """Return a switch: True, False, 1 or 0, also of NumPy, or None for False; raises TfdumpError for anything else."""
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
    """Return switches by name; raises TfdumpError for a value that is not one."""
    return {name: flag(name, value) for name, value in values.items()}


def whole_number(name: str, value: Any, least: int = 1) -> int | None:
    """Return a number of Python or NumPy as an int, and None as None; raises TfdumpError for one below `least`."""
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
    """Return a number of Python or NumPy as a float; raises TfdumpError, with an example, for anything else."""
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        raise TfdumpError(f"{name} {shown(value)} is not a number (for example {example})") from None


def positive_number(name: str, value: Any) -> float:
    """Return a finite number above 0; raises TfdumpError for anything else."""
    number = real_number(name, value, 1.0)
    if not 0 < number < math.inf:
        raise TfdumpError(f"{name} {shown(value)} is not above 0")
    return number


def text(name: str, value: Any, example: str) -> str | None:
    """Return a string, and None as None; raises TfdumpError, with an example, for anything else."""
    if value is None or isinstance(value, str):
        return value
    raise TfdumpError(f"{name} {shown(value)} is not a string (for example {name}={example!r})")


def one_of(name: str, value: Any, choices: Sequence[str]) -> str | None:
    """Return one of some strings, and None as None; raises TfdumpError for anything else."""
    if value is None or (isinstance(value, str) and value in choices):
        return value
    raise TfdumpError(f"{name} {shown(value)} is not one of {', '.join(choices)}")


def texts(name: str, value: Any, example: str) -> tuple[str, ...]:
    """Return one or several strings as a tuple, empty for None; raises TfdumpError, with an example, otherwise."""
    if value is None:
        return ()
    try:
        items = (value,) if isinstance(value, (str, bytes)) else tuple(value)
    except (TypeError, NotImplementedError):  # a KerasTensor raises the latter
        items = (value,)
    for item in items:
        if not isinstance(item, str):
            raise TfdumpError(f"{name}: {shown(item)} is not a string (for example {name}={example!r})")
    return items


def file_path(name: str, value: Any, advice: str) -> Path:
    """Return the path of a file; raises TfdumpError, with advice, for anything else."""
    if isinstance(value, (str, os.PathLike)):
        path = os.fspath(value)
        if isinstance(path, str):
            return Path(path)
    raise TfdumpError(f"{name} {shown(value)} is not a path to a file ({advice})")
