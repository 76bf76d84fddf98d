"""Notes on stderr, and on a terminal the stage of the work and a progress bar."""

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tfdump.cli.render import harmless, say
from tfdump.cli.terminal import is_dumb
from tfdump.cli.verbosity import Verbosity
from tfdump.process.stages import Progress, Stage, silent_progress, silent_stage
from tfdump.tensors import Detail, Note

if TYPE_CHECKING:
    import rich.console
    import rich.progress

_SOON = 0.5
"""Seconds before a bar appears; most files are read in less, which saves the import of Rich."""


class _Line:
    """A line at the bottom of the terminal that is redrawn, and removed in the end.

    Other lines must be printed through its console, which puts them above it.
    """

    shown: "_Line | None" = None

    def __init__(self, line: "rich.progress.Progress") -> None:
        self.line = line

    def start(self) -> None:
        """Draw it, in the place of another line that is shown."""
        if _Line.shown is not None:
            _Line.shown.stop()
        _Line.shown = self
        self.line.start()

    def update(self, done: int, total: int | None) -> None:
        """Redraw it with the progress."""
        self.line.update(self.line.task_ids[0], completed=done, total=total)

    def stop(self) -> None:
        """Remove it."""
        self.line.stop()
        if _Line.shown is self:
            _Line.shown = None


def notes(verbosity: Verbosity) -> Note:
    """Return a function that prints a note on stderr, on one line; `--quiet` silences it, details need `--verbose`."""

    def note(text: str) -> None:
        line = f"Note: {' '.join(text.split())}"
        if verbosity.quiet or (isinstance(text, Detail) and not verbosity.verbose):
            return
        if _Line.shown is not None:
            console = _Line.shown.line.console
            console.print(harmless(line), markup=False, highlight=False, emoji=False, soft_wrap=True)
        else:
            say(line)

    return note


def _is_shown(verbosity: Verbosity) -> bool:
    stream = getattr(sys.stderr, "rich_proxied_file", sys.stderr)  # what stands in for it before Rich 15 is no terminal
    return not verbosity.quiet and stream.isatty() and not is_dumb()


@contextmanager
def stages(verbosity: Verbosity) -> Iterator[Stage]:
    """Yield a function that shows the stage of the work while the body runs, if stderr is a terminal.

    A bar takes its place. With `-v`, where TensorFlow writes to the terminal too, every stage is a line that stays.
    """
    if not _is_shown(verbosity):
        yield silent_stage
        return
    if verbosity.verbose:
        yield lambda text: say(f"{text} ...")
        return
    from rich.console import Console

    lines: list[_Line] = []

    def show(text: str) -> None:
        lines.append(_status(text, Console(stderr=True), redirect=True))
        lines[-1].start()

    try:
        yield show
    finally:
        if lines:
            lines[-1].stop()


@contextmanager
def starting(verbosity: Verbosity, text: str) -> Iterator[None]:
    """Show a stage in which file descriptor 2 is redirected, and libraries remember the streams of the process."""
    if not _is_shown(verbosity) or verbosity.verbose:
        with stages(verbosity) as stage:
            stage(text)
            yield
        return
    from rich.console import Console

    with os.fdopen(os.dup(sys.stderr.fileno()), "w", encoding=sys.stderr.encoding, errors="backslashreplace") as stream:
        line = _status(text, Console(file=stream), redirect=False)
        line.start()
        try:
            yield
        finally:
            line.stop()


def _status(text: str, console: "rich.console.Console", redirect: bool) -> _Line:
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (
        SpinnerColumn("dots" if console.encoding.startswith("utf") else "line"),
        TextColumn("{task.description}", markup=False),
        TimeElapsedColumn(),
    )
    line = Progress(*columns, console=console, transient=True, redirect_stdout=redirect, redirect_stderr=redirect)
    line.add_task(harmless(text), total=None)
    return _Line(line)


@contextmanager
def progress_bar(verbosity: Verbosity, what: str = "examples") -> Iterator[Progress]:
    """Show a bar that counts examples or other things while the body runs, if stderr is a terminal."""
    with _bars(verbosity, counted=True) as watch:
        yield watch(what)


@contextmanager
def reading_bar(verbosity: Verbosity, what: str) -> Iterator[Progress]:
    """Show a bar of the share of the work while the body runs, if stderr is a terminal and the work takes a while."""
    with reading_bars(verbosity) as watch:
        yield watch(what)


@contextmanager
def reading_bars(verbosity: Verbosity) -> Iterator[Callable[[str], Progress]]:
    """Yield a function that starts a bar as `reading_bar` does, in the place of the one before."""
    with _bars(verbosity, counted=False, after=_SOON) as watch:
        yield watch


@contextmanager
def _bars(verbosity: Verbosity, counted: bool, after: float = 0.0) -> Iterator[Callable[[str], Progress]]:
    if not _is_shown(verbosity):
        yield lambda what: silent_progress
        return
    begun = time.monotonic()
    bars: list[_Bar] = []

    def watch(what: str) -> Progress:
        for bar in bars:
            bar.end()
        bars.append(_Bar(what, counted, after - (time.monotonic() - begun)))
        return bars[-1].show

    try:
        yield watch
    finally:
        for bar in bars:
            bar.end()


class _Bar:
    """A bar that appears after some seconds, unless the work ends before."""

    def __init__(self, what: str, counted: bool, after: float) -> None:
        self._what = what
        self._counted = counted
        self._progress: tuple[int, int | None] = (0, None)
        self._line: _Line | None = None
        self._has_ended = False
        self._lock = threading.Lock()
        self._timer = threading.Timer(max(0.0, after), self._draw)
        self._timer.daemon = True
        if after > 0:
            self._timer.start()
        else:
            self._draw()

    def show(self, done: int, total: int) -> None:
        """Show the progress."""
        self._progress = done, total
        line = self._line
        if line is not None:
            line.update(done, total)

    def end(self) -> None:
        """Remove it, or prevent that it appears."""
        self._timer.cancel()
        with self._lock:
            self._has_ended = True
            if self._line is not None:
                self._line.stop()
                self._line = None

    def _draw(self) -> None:
        line = _drawn_bar(self._what, self._counted)
        with self._lock:
            if not self._has_ended:
                line.start()
                line.update(*self._progress)
                self._line = line


def _drawn_bar(what: str, counted: bool) -> _Line:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeRemainingColumn,
    )

    of = MofNCompleteColumn() if counted else TaskProgressColumn()
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), of, TimeRemainingColumn())
    line = Progress(*columns, console=Console(stderr=True), transient=True)
    line.add_task(harmless(what), total=None)
    return _Line(line)
