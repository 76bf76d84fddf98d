"""How long work reports its progress: to functions that the caller passes. Nothing here prints."""

from collections.abc import Callable

Progress = Callable[[int, int], None]
"""Called with how much is done and how much there is in all: examples, values or bytes."""

Stage = Callable[[str], None]
"""Called with a text for the user before each stage, such as `Loading m.keras`."""


def silent_progress(done: int, total: int) -> None:
    """Ignore the progress."""


def silent_stage(text: str) -> None:
    """Ignore the stage."""


class Meter:
    """Adds up how much of `total` is done and reports it."""

    def __init__(self, total: int, progress: Progress) -> None:
        self._done = 0
        self._total = total
        self._progress = progress

    def add(self, more: int = 1) -> None:
        """Report that more is done; never more than the total."""
        self._done = min(self._total, self._done + more)
        self._progress(self._done, self._total)
