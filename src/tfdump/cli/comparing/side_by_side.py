"""Runs two sides of a comparison for the command line, with stages and bars, and writes the files that it asks for."""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import click

from tfdump.cli.comparing.report_page import check_page, write_page
from tfdump.cli.comparing.shrinking import request_from, shrink_and_say
from tfdump.cli.load_model import load
from tfdump.cli.progress import notes, progress_bar, reading_bar, reading_bars, stages
from tfdump.cli.render import only_data_on_stdout
from tfdump.cli.verbosity import Verbosity
from tfdump.comparison.diff import compare
from tfdump.comparison.options import DiffOptions
from tfdump.comparison.verdict import DiffReport
from tfdump.dump.other_formats import is_dump
from tfdump.dump.target import check_space, check_target
from tfdump.errors import DumpError, ModelError
from tfdump.files.paths import check_path
from tfdump.inputs.arguments import input_files
from tfdump.inputs.input_array import InputArray
from tfdump.model.loading.options import LoadingOptions
from tfdump.process.signals import held_back
from tfdump.process.stages import Stage
from tfdump.report.gather import gather
from tfdump.report.records import ReportOptions
from tfdump.side_by_side.dumping import sample_size, write_sample, write_whole_dump
from tfdump.side_by_side.model_side import ModelSide
from tfdump.side_by_side.opening import open_sides
from tfdump.side_by_side.options import DumpToCompare, ModelToCompare, SideBySideOptions, SideToCompare
from tfdump.side_by_side.run import SideBySide, check_layouts
from tfdump.side_by_side.shrink.folder import check_shrink_folder

_NAMES = ("golden.h5", "new.h5")
"""The names of the dumps that a comparison writes."""


@dataclass(frozen=True)
class SideOfCommand:
    """One side as the command line names it."""

    model: LoadingOptions
    dequantize: bool


@dataclass(frozen=True)
class ComparisonFiles:
    """The files of both sides, the folder of their dumps, the page and the folder of what fails, None for none."""

    golden: Path
    new: Path
    folder: Path | None
    page: Path | None
    shrink: Path | None
    force: bool

    @property
    def dumps(self) -> list[Path]:
        """Where the dumps of both sides go."""
        return [] if self.folder is None else [self.folder / name for name in _NAMES]


def check_files(files: ComparisonFiles, inputs: Sequence[str], first: bool) -> None:
    """Raise an error where a file is missing or an output cannot be written, before any model is loaded."""
    for path in (files.golden, files.new):
        check_path(path, "file", ModelError)
    sources = [files.golden, files.new, *input_files(inputs)]
    if files.folder is not None and first:
        raise click.UsageError("-o writes dumps of all examples, and --first stops before (leave one of them out)")
    if files.page is not None:
        check_page(files.page, files.force, sources)
    if files.shrink is not None and files.shrink == files.folder:
        raise click.UsageError("-o and --shrink name the same folder (choose another for one of them)")
    if files.shrink is not None:
        check_shrink_folder(files.shrink, files.force)
    if files.folder is not None:
        files.folder.mkdir(exist_ok=True)
    for target in files.dumps:
        check_target(target, files.force, sources)


def compare_files(
    files: ComparisonFiles,
    sides: Sequence[SideOfCommand],
    arrays: Sequence[InputArray],
    running: SideBySideOptions,
    options: DiffOptions,
    first: bool,
    command: str,
    verbosity: Verbosity,
) -> DiffReport:
    """Compare, and write the dumps and the page that `files` names; return the report."""
    if files.shrink is not None and any(side.model.backend or side.model.backend_python for side in sides):
        raise click.UsageError(
            "--shrink writes parts of models that run in this process, so it does not go with --golden-backend and "
            "--new-backend (leave one of them out)"
        )
    options.check()
    if files.folder is None or running.isolates:
        check_layouts(options)
    with only_data_on_stdout(), stages(verbosity) as stage:
        golden, new = (_side(side, running.seed, verbosity, stage) for side in sides)
        with open_sides(golden, new, arrays, running, notes(verbosity), stage) as pair:
            if files.folder is None:
                with progress_bar(verbosity) as progress:
                    report = pair.compare(options, first, progress)
            else:
                report = _compare_dumps(pair, files, options, command, verbosity)
            if files.page is not None:
                _write_page(pair, files, report, command, verbosity)
            if files.shrink is not None:
                models = [(side.model, side.dequantize) for side in sides]
                request = request_from(files.shrink, files.force, models, arrays, running.seed)
                shrink_and_say(pair, report, options, request, verbosity, stage)
    return report


def _side(side: SideOfCommand, seed: int, verbosity: Verbosity, stage: Stage) -> SideToCompare:
    path = side.model.path
    if not is_dump(path):
        return ModelToCompare(str(path), partial(load, side.model, verbosity, seed, stage), side.dequantize)
    of_models = {
        "dequantize": side.dequantize,
        "signature": side.model.signature,
        "backend": side.model.backend,
        "backend-python": side.model.backend_python,
    }
    for option in (name for name, value in of_models.items() if value):
        raise DumpError(f"{path} is a dump, and --golden-{option} and --new-{option} are for models (leave it out)")
    return DumpToCompare(path)


def _compare_dumps(
    pair: SideBySide, files: ComparisonFiles, options: DiffOptions, command: str, verbosity: Verbosity
) -> DiffReport:
    """Write the dumps of the models, and compare them as `tfdump diff` does."""
    paths = [files.golden, files.new]
    for number, (side, target) in enumerate(zip((pair.golden, pair.new), files.dumps, strict=True)):
        if isinstance(side, ModelSide):
            check_space(target, side.run.file_bytes)
            with held_back(), progress_bar(verbosity) as progress:
                write_whole_dump(side, target, files.force, command, progress)
            paths[number] = target
    if pair.options.isolates:
        for model in pair.models:
            model.restart()
        with progress_bar(verbosity) as progress:
            return pair.compare(options, progress=progress)
    with reading_bar(verbosity, "comparing") as reading:
        return compare(paths[0], paths[1], options, reading)


def _write_page(
    pair: SideBySide, files: ComparisonFiles, report: DiffReport, command: str, verbosity: Verbosity
) -> None:
    """Write the page: the verdicts of the report, and the statistics and pictures of dumps."""
    assert files.page is not None
    names = [Path(side.name).name for side in (pair.golden, pair.new)]
    with _dumps_for_page(pair, files, command) as (golden, new, examples), reading_bars(verbosity) as watch:
        page = gather(golden, new, ReportOptions(), watch, report)
    page_notes = [*([report.blame] if report.blame else []), *page.notes]
    if examples < pair.examples:
        page_notes.insert(
            0,
            f"the verdicts are those of {pair.examples:,} examples; statistics, findings and pictures are those of "
            f"the first {examples:,}",
        )
    page = replace(
        page, dump=names[0], other=names[1], checks=replace(page.checks, dump=names[0]), notes=tuple(page_notes)
    )
    write_page(page, files.page.resolve(), files.force)


@contextmanager
def _dumps_for_page(pair: SideBySide, files: ComparisonFiles, command: str) -> Iterator[tuple[Path, Path, int]]:
    """Yield the dumps of both sides, and the number of their examples: those of -o, or of the first examples."""
    if files.folder is not None:
        paths = [
            target if isinstance(side, ModelSide) else path
            for side, target, path in zip((pair.golden, pair.new), files.dumps, (files.golden, files.new), strict=True)
        ]
        yield paths[0], paths[1], pair.examples
        return
    examples = sample_size(pair)
    with tempfile.TemporaryDirectory(prefix="tfdump-") as folder:
        paths = []
        for side, name, path in zip((pair.golden, pair.new), _NAMES, (files.golden, files.new), strict=True):
            paths.append(Path(folder) / name if isinstance(side, ModelSide) else path)
            if isinstance(side, ModelSide):
                with held_back():
                    write_sample(side, paths[-1], examples, command)
        yield paths[0], paths[1], examples
