"""The bytes that a file from elsewhere may make this process allocate: `--max-bytes`."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from tfdump.byte_sizes import show_bytes
from tfdump.errors import TfdumpError
from tfdump.process.machine import memory_bytes

_SHARE = 4
"""A file may ask for one part in this many of the machine's memory."""

_ALLOWED: ContextVar[int | None] = ContextVar("tfdump_max_bytes", default=None)


def default_max_bytes() -> int:
    """Return a quarter of the memory of the machine, or of the container if that has less."""
    return memory_bytes() // _SHARE


@contextmanager
def allowed(limit: int | None) -> Iterator[None]:
    """While the body runs, let a model create variables and tensors of at most `limit` bytes; None means no limit."""
    token = _ALLOWED.set(limit)
    try:
        yield
    finally:
        _ALLOWED.reset(token)


def allowed_bytes() -> int | None:
    """Return the limit of the innermost `allowed`, or None."""
    return _ALLOWED.get()


def check_bytes(count: int, limit: int | None, what: str, error: type[TfdumpError]) -> None:
    """Raise `error` if `count` bytes exceed `limit`; `what` begins the message."""
    if limit is not None and count > limit:
        raise error(f"{what} {show_bytes(count)}, more than the {show_bytes(limit)} allowed (allow it: --max-bytes)")
