"""Writes the dump of a planned run, or prints what it would hold; or searches the run, and dumps one example.

Writing is the same for every kind of dump; a search is for activations.
"""

import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from tfdump.cli.aligned_table import Column
from tfdump.cli.load_model import load, load_with_weights
from tfdump.cli.progress import notes, progress_bar, stages
from tfdump.cli.render import only_data_on_stdout, say, shape_cell, table, write
from tfdump.cli.tensor_names import tensor_column
from tfdump.cli.terminal import BOLD
from tfdump.cli.verbosity import Verbosity
from tfdump.dump import layout
from tfdump.dump.examples import example_aside
from tfdump.dump.journal import Journal, journal_path
from tfdump.dump.target import check_space, check_target
from tfdump.errors import DumpError, ModelError
from tfdump.files.paths import as_argument, check_path, exists, refuse_other_ending
from tfdump.inputs.arguments import input_files, reads_stdin
from tfdump.model.loading.options import LoadingOptions
from tfdump.process.signals import held_back, ignore
from tfdump.process.stages import Stage
from tfdump.run.activations.run import ActivationRun
from tfdump.run.activations.search import BadExample
from tfdump.run.planned import PlannedRun
from tfdump.run.resume import code_hashes
from tfdump.run.weights import WeightOptions, WeightRun, plan_weights
from tfdump.tensors import Note

if TYPE_CHECKING:
    from tfdump.model.loading.loaded_model import LoadedModel

DUMP_ENDINGS = (".h5", ".hdf5")

OpenedInputs = TypeVar("OpenedInputs")


@dataclass(frozen=True)
class DumpOutput:
    """The file of a dump; with `dry_run` it is not written, with `resume` a journal is kept beside it."""

    target: Path
    force: bool
    dry_run: bool
    resume: bool


AnyRun = PlannedRun[Any, Any]
"""A planned run over examples of any kind."""

PlannedDump = AnyRun | WeightRun
"""Anything that is ready to be dumped."""

OpenRun = Callable[["LoadedModel", Note, Stage], AbstractContextManager[AnyRun]]
"""Plans the run of a model that has been loaded; the plan is valid until the context ends."""

OpenActivations = Callable[["LoadedModel", Note, Stage], AbstractContextManager[ActivationRun]]
"""Plans a run that can be searched."""


def open_inputs(
    texts: Sequence[str], read: Callable[[], OpenedInputs], model: Path, output: DumpOutput
) -> OpenedInputs:
    """Return what `read` makes of the INPUT arguments `texts`, after checking the files and the output.

    Problems of the model or an input are reported before problems of the output, but standard input is read last.
    Raises ModelError, InputError and DumpError.
    """

    def check_output() -> None:
        if not output.dry_run:
            check_target(output.target, output.force, sources=[model, *input_files(texts)])
            refuse_other_ending(output.target, DUMP_ENDINGS, DumpError)

    check_path(model, "model", ModelError)
    if reads_stdin(texts):
        check_output()
        return read()
    inputs = read()
    check_output()
    return inputs


def dump_model(
    model: LoadingOptions,
    open_run: OpenRun,
    output: DumpOutput,
    command: str,
    verbosity: Verbosity,
    seed: int,
    compression: str,
) -> None:
    """Load a model, run it and write the dump, then print the path of the file; or print the table of a dry run."""
    with only_data_on_stdout(), stages(verbosity) as stage:
        loaded = load(model, verbosity, seed, stage)
        with open_run(loaded, notes(verbosity), stage) as run:
            if not output.dry_run:
                write_planned(run, output, command, verbosity, compression, model.imports)
    _tell_result(run, output, verbosity)


def dump_weights(
    model: LoadingOptions, options: WeightOptions, output: DumpOutput, command: str, verbosity: Verbosity
) -> None:
    """Load a model and write the dump of its weights, then print the path of the file; or the table of a dry run."""
    with (
        only_data_on_stdout(),
        stages(verbosity) as stage,
        load_with_weights(model, verbosity, stage) as loaded,
    ):
        run = plan_weights(loaded, options, notes(verbosity), stage)
        if not output.dry_run:
            _write(run, output, command, verbosity, options.compression != "none", "weights")
    _tell_result(run, output, verbosity)


def _tell_result(run: PlannedDump, output: DumpOutput, verbosity: Verbosity) -> None:
    """Print the path of the dump, or the table of a dry run."""
    if output.dry_run:
        write(dry_run_table(run))
    else:
        write(f"{output.target}\n")
        _suggest(output.target, verbosity)


def write_planned(
    run: AnyRun, output: DumpOutput, command: str, verbosity: Verbosity, compression: str, imports: Sequence[Path]
) -> None:
    """Write the dump, with a journal where the run is resumable."""
    compressed = compression != "none"
    if output.resume:
        _write_resumably(run, output, command, verbosity, compressed, imports)
    else:
        _write(run, output, command, verbosity, compressed)


def _write(
    run: PlannedDump, output: DumpOutput, command: str, verbosity: Verbosity, compressed: bool, what: str = "examples"
) -> None:
    """Write the dump; signals wait for moments at which the file can be thrown away. A bar counts `what`."""
    if not compressed:
        check_space(output.target, run.file_bytes)
    partial = journal_path(output.target)
    if exists(partial):
        notes(verbosity)(f"{partial.name} is left from an interrupted run (add --resume to resume it, or remove it)")
    with held_back():
        with run.open_writer(output.target, output.force) as writer, progress_bar(verbosity, what) as progress:
            run.write(writer, command, progress)
        ignore()  # the file is complete: from here on the command has succeeded


def _write_resumably(
    run: AnyRun, output: DumpOutput, command: str, verbosity: Verbosity, compressed: bool, imports: Sequence[Path]
) -> None:
    """Write the dump, and beside it a journal of the batches computed, which is removed when the dump is complete."""
    partial = journal_path(output.target)
    if not compressed:
        partial_bytes = partial.stat().st_size if exists(partial) else 0
        check_space(output.target, run.file_bytes + max(0, run.journal_bytes - partial_bytes))
    with held_back():
        with Journal(partial, {"imported code": code_hashes(imports)}) as journal:
            try:
                with (
                    run.open_writer(output.target, output.force, alone=True) as writer,
                    progress_bar(verbosity) as progress,
                ):
                    run.write(writer, command, progress, journal)
            except BaseException:
                if journal.has_records and exists(partial):  # its folder may have been removed meanwhile
                    notes(verbosity)(
                        f"{partial.name} keeps what was computed (resume with the same command and --resume)"
                    )
                raise
            journal.remove()
        ignore()


def _suggest(target: Path, verbosity: Verbosity) -> None:
    """Suggest on a terminal what to do next with a dump."""
    if verbosity.quiet or not (sys.stdout.isatty() and sys.stderr.isatty()):
        return
    name = as_argument(target)
    say(f"Next: tfdump show {name}, or tfdump check {name}")


def search_model(
    model: LoadingOptions,
    open_run: OpenActivations,
    output: DumpOutput,
    command: str,
    verbosity: Verbosity,
    seed: int,
) -> int:
    """Load a model and search its tensors; return the exit status.

    Where an example is bad, write its dump, print the path of the file, and say where NaN or infinity starts.
    """
    with only_data_on_stdout(), stages(verbosity) as stage:
        loaded = load(model, verbosity, seed, stage)
        with open_run(loaded, notes(verbosity), stage) as run:
            example = _search(run, output, command, verbosity)
    if example is None:
        if not verbosity.quiet:
            say(_clean(run))
        return 0
    write(f"{output.target}\n")
    if not verbosity.quiet:
        _say_origins(run, output, example)
    return 1


def _search(run: ActivationRun, output: DumpOutput, command: str, verbosity: Verbosity) -> BadExample | None:
    """Search, and write the dump where an example is bad; signals wait as long as a file could be torn."""
    with held_back():
        with progress_bar(verbosity) as progress:
            example = run.search(progress)
        if example is not None:
            if run.options.compression == "none":
                check_space(output.target, run.file_bytes_of(example))
            with run.open_writer(output.target, output.force) as writer:
                run.write_example(writer, command, example)
        ignore()  # from here on the verdict is known
    return example


def _clean(run: ActivationRun) -> str:
    examples, tensors = run.source.examples, len(run.planned)
    return (
        f"all clean: no {_sought(run)} in {tensors:,} {'tensor' if tensors == 1 else 'tensors'} of {examples:,} "
        f"{'example' if examples == 1 else 'examples'}"
    )


def _say_origins(run: ActivationRun, output: DumpOutput, example: BadExample) -> None:
    """Say where NaN and infinity start; where the stored tensors do not show it, name the one that the search saw."""
    from tfdump.checks import origins_in

    number, name = run.source.first_example + example.number, run.source.example_id(example.number)
    place = f"'{example.tensor.removeprefix(f'{layout.ACTIVATIONS}/')}' {example_aside(number, name)}"
    origins = [origin.message for origin in origins_in(output.target, run.options.allow_inf)]
    for message in origins or [f"{_sought(run)} is in {place}"]:
        say(message, BOLD)


def _sought(run: ActivationRun) -> str:
    return "NaN" if run.options.allow_inf else "NaN or Inf"


def dry_run_table(run: PlannedDump) -> str:
    """Return the tensors that would be dumped, with their bytes, as a table."""
    rows: list[tuple[str | int, ...]] = [
        (f"{t.group}/{t.info.address}", shape_cell(t.shape), t.info.dtype, t.axis0, t.bytes) for t in run.planned
    ]
    rows.append(("attributes and indices", "", "", "", run.file_bytes - run.value_bytes))
    rows.append(("total", "", "", "", run.file_bytes))
    columns = (tensor_column(), Column("shape", 2), Column("dtype", 0), Column("axis0", 1), "bytes")
    return table(columns, rows, all_in="a pipe")
