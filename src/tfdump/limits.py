"""How many bytes a file from elsewhere may make this process hold: `--max-bytes`."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path

from tfdump.batching import show_bytes
from tfdump.errors import TfdumpError

_SHARE = 4
"""One part in this many of the memory of the machine is what a file may ask for."""

_ALLOWED: ContextVar[int | None] = ContextVar("tfdump_max_bytes", default=None)
_CONTAINER = Path("/sys/fs/cgroup/memory.max")


def default_max_bytes() -> int:
    """Return a quarter of the memory of the machine, or of the container where that has less."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    with suppress(OSError, ValueError):  # no container, or one without a limit ("max")
        memory = min(memory, int(_CONTAINER.read_text()))
    return memory // _SHARE


@contextmanager
def allowed(limit: int | None) -> Iterator[None]:
    """While the body runs, let a model create variables and tensors of at most `limit` bytes; None for no limit."""
    token = _ALLOWED.set(limit)
    try:
        yield
    finally:
        _ALLOWED.reset(token)


def allowed_bytes() -> int | None:
    """Return the limit of the innermost `allowed`, or None."""
    return _ALLOWED.get()


def check_bytes(count: int, limit: int | None, what: str, error: type[TfdumpError]) -> None:
    """Raise `error` when `count` bytes are more than `limit`; `what` asks for them, for the message."""
    if limit is not None and count > limit:
        raise error(f"{what} {show_bytes(count)}, more than the {show_bytes(limit)} allowed (allow it: --max-bytes)")
