"""Putting something else in the place of an attribute for a while."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_ABSENT = object()


@contextmanager
def replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    """While the body runs, let `owner.name` be `value`: an object's own attribute, a module's or a class's.

    Keras's bookkeeping of assigned attributes is passed by.
    """
    if isinstance(owner, type):
        before = getattr(owner, name)
        setattr(owner, name, value)
        try:
            yield
        finally:
            setattr(owner, name, before)
        return
    own = vars(owner)
    before = own.get(name, _ABSENT)
    own[name] = value
    try:
        yield
    finally:
        if before is _ABSENT:
            own.pop(name, None)
        else:
            own[name] = before
