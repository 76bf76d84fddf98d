"""What long work tells of itself, to whoever passes a function for it; this module shows nothing."""

from collections.abc import Callable

Progress = Callable[[int, int], None]
"""Called with how much is done and how much there is: examples, values or bytes."""

Stage = Callable[[str], None]
"""Called with what is going to be done next, for those who wait for it: `Loading m.keras`."""


def silent_progress(done: int, total: int) -> None:
    """Show nothing of how much is done."""


def silent_stage(text: str) -> None:
    """Show nothing of what is done."""


class Meter:
    """Adds up how much of `total` is done."""

    def __init__(self, total: int, progress: Progress) -> None:
        self._done = 0
        self._total = total
        self._progress = progress

    def add(self, more: int = 1) -> None:
        """Tell that more is done; what is done twice does not count above the total."""
        self._done = min(self._total, self._done + more)
        self._progress(self._done, self._total)
