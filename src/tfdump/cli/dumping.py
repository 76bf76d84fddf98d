"""Writing the dump of a planned run, or saying what it would hold: the same for every kind of dump."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

from tfdump.cli.fitting import Column
from tfdump.cli.progress import notes, progress_bar
from tfdump.cli.render import say, shape_text, table
from tfdump.cli.settings import Settings
from tfdump.cli.tensor_names import tensor_column
from tfdump.dump.journal import Journal, journal_path
from tfdump.dump.target import check_space, check_target
from tfdump.dump.writer import DumpWriter
from tfdump.errors import DumpError, ModelError
from tfdump.files.paths import as_argument, check_path, exists, refuse_other_ending
from tfdump.inputs.arguments import input_files, reads_stdin
from tfdump.process.signals import held_back, ignore
from tfdump.process.stages import Progress
from tfdump.run.planned import PlannedTensor
from tfdump.run.resume import code_hashes

_MODEL_SUFFIXES = (".keras", ".h5", ".tflite")

DUMP_ENDINGS = (".h5", ".hdf5")

Inputs = TypeVar("Inputs")


class Run(Protocol):
    """A planned run."""

    @property
    def planned(self) -> list[PlannedTensor]:
        """Every tensor that the dump will hold."""

    @property
    def value_bytes(self) -> int:
        """About how many bytes the values will take."""

    @property
    def file_bytes(self) -> int:
        """About how many bytes the file will take."""

    def open_writer(self, path: Path | None, force: bool, alone: bool = False) -> DumpWriter:
        """Return the writer of the dump."""

    @property
    def journal_bytes(self) -> int:
        """About how many bytes a journal of all batches will take."""

    def write(
        self,
        writer: DumpWriter,
        command: str,
        progress: Progress,
        journal: Journal | None = None,
    ) -> Any:
        """Run the model and write the dump."""


def default_target(model: Path, kind: str) -> Path:
    """Return the name of a dump of this kind in the working directory."""
    return Path(f"{model.stem if model.suffix in _MODEL_SUFFIXES else model.name}.{kind}.h5")


def open_inputs(
    texts: Sequence[str], read: Callable[[], Inputs], model: Path, target: Path | None, force: bool
) -> Inputs:
    """Return what `read` makes of the INPUT arguments `texts`, after checking the files and where the dump goes.

    What is wrong with the model or an input is told before what is wrong with the output, but standard input is read
    last. `target` is None where nothing is written. Raises ModelError, InputError and DumpError.
    """

    def check() -> None:
        if target is not None:
            check_target(target, force, sources=[model, *input_files(texts)])
            refuse_other_ending(target, DUMP_ENDINGS, DumpError)

    check_path(model, "model", ModelError)
    if reads_stdin(texts):
        check()
        return read()
    inputs = read()
    check()
    return inputs


def dump(run: Run, target: Path, force: bool, recorded: str, settings: Settings, compressed: bool) -> None:
    """Write the dump; signals wait for moments at which the file can be thrown away."""
    if not compressed:
        check_space(target, run.file_bytes)
    left = journal_path(target)
    if exists(left):
        notes(settings)(f"{left.name} is left from an interrupted run (go on with --resume, or remove it)")
    with held_back():
        with run.open_writer(target, force) as writer, progress_bar(settings) as progress:
            run.write(writer, recorded, progress)
        ignore()  # the file is there: from here on the command has succeeded


def dump_resumably(
    run: Run, target: Path, force: bool, recorded: str, settings: Settings, compressed: bool, imports: Sequence[Path]
) -> None:
    """Write the dump, and beside it a journal of what is computed, which goes when the dump is there."""
    left = journal_path(target)
    if not compressed:
        there = left.stat().st_size if exists(left) else 0
        check_space(target, run.file_bytes + max(0, run.journal_bytes - there))
    with held_back():
        with Journal(left, {"imported code": code_hashes(imports)}) as journal:
            try:
                with run.open_writer(target, force, alone=True) as writer, progress_bar(settings) as progress:
                    run.write(writer, recorded, progress, journal)
            except BaseException:
                if journal.has_records and exists(left):  # its folder may have been removed meanwhile
                    notes(settings)(f"{left.name} keeps what was computed (go on with the same command and --resume)")
                raise
            journal.remove()
        ignore()


def suggest(target: Path, settings: Settings) -> None:
    """Say on a terminal what one would do next with a dump."""
    if settings.quiet or not (sys.stdout.isatty() and sys.stderr.isatty()):
        return
    name = as_argument(target)
    say(f"Next: tfdump show {name}, or tfdump check {name}")


def dry_run_table(run: Run) -> str:
    """Return what would be dumped, with its bytes, as a table."""
    rows: list[tuple[str | int, ...]] = [
        (f"{t.group}/{t.info.address}", shape_text(t.shape), t.info.dtype, t.axis0, t.bytes) for t in run.planned
    ]
    rows.append(("attributes and indices", "", "", "", run.file_bytes - run.value_bytes))
    rows.append(("total", "", "", "", run.file_bytes))
    columns = (tensor_column(), Column("shape", 2), Column("dtype", 0), Column("axis0", 1), "bytes")
    return table(columns, rows, all_in="a pipe")
