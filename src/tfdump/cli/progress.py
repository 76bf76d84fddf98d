"""Notes and progress on stderr."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from tfdump.cli.render import say
from tfdump.cli.settings import Settings
from tfdump.pipeline import Progress
from tfdump.tensors import Note


def notes(settings: Settings) -> Note:
    """Return what prints a note as one line on stderr, or nothing when quiet."""
    return lambda text: None if settings.quiet else say(f"Note: {' '.join(text.split())}")


@contextmanager
def progress_bar(settings: Settings) -> Iterator[Progress]:
    """Show a bar of the examples done while the body runs, if stderr is a terminal."""
    if settings.quiet or not sys.stderr.isatty():
        yield lambda done, total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("examples")
        yield lambda done, total: bar.update(task, completed=done, total=total)
