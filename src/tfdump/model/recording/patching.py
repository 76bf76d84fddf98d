"""Replacing an attribute for a while."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_ABSENT = object()


@contextmanager
def replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    """While the body runs, let `owner.name` be `value`, an attribute of an object, a module or a class.

    Afterwards the owner has what it had: its own attribute, or none where it inherits one. For an object, the
    bookkeeping that Keras does when an attribute is assigned is bypassed.
    """
    before = vars(owner).get(name, _ABSENT)
    _put(owner, name, value)
    try:
        yield
    finally:
        _put(owner, name, before)


def _put(owner: Any, name: str, value: Any) -> None:
    """Set an attribute of an owner's own, or remove it for `_ABSENT`."""
    if isinstance(owner, type):  # the namespace of a class is read-only
        delattr(owner, name) if value is _ABSENT else setattr(owner, name, value)
    elif value is _ABSENT:
        vars(owner).pop(name, None)
    else:
        vars(owner)[name] = value
