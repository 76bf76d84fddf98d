"""Notes and progress on stderr."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tfdump.cli.render import harmless, say
from tfdump.cli.settings import Settings
from tfdump.tensors import Detail, Note

if TYPE_CHECKING:
    from rich.console import Console

    from tfdump.batch_run import Progress

_LIVE: list["Console"] = []
"""The terminal on which a bar is shown, while it is: only through it can lines be printed above the bar."""


def notes(settings: Settings) -> Note:
    """Return what prints a note as one line on stderr: nothing when quiet, and details when verbose."""

    def note(text: str) -> None:
        line = f"Note: {' '.join(text.split())}"
        if settings.quiet or (isinstance(text, Detail) and not settings.verbose):
            return
        if _LIVE:
            _LIVE[-1].print(harmless(line), markup=False, highlight=False, emoji=False, soft_wrap=True)
        else:
            say(line)

    return note


@contextmanager
def progress_bar(settings: Settings) -> "Iterator[Progress]":
    """Show a bar of the examples done while the body runs, if stderr is a terminal."""
    if settings.quiet or not sys.stderr.isatty():
        yield lambda done, total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("examples", total=None)
        _LIVE.append(bar.console)
        try:
            yield lambda done, total: bar.update(task, completed=done, total=total)
        finally:
            _LIVE.pop()
