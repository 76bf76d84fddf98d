"""Cuts a difference down: the fewest examples, then the smallest part of the models, that still differ."""

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tfdump.comparison.options import DiffOptions
from tfdump.comparison.verdict import DiffReport, TensorDiff
from tfdump.errors import TfdumpError
from tfdump.process.stages import Stage, silent_stage
from tfdump.side_by_side.run import SideBySide
from tfdump.side_by_side.shrink.command_line import MAP, map_text, options_of_part
from tfdump.side_by_side.shrink.examples import differing_examples
from tfdump.side_by_side.shrink.folder import move_folder
from tfdump.side_by_side.shrink.parts import Feed, feeds_of, write_inputs, write_side, write_whole_side
from tfdump.side_by_side.shrink.plan import inputs_of, levels_of, target_of
from tfdump.side_by_side.shrink.readme import readme_text
from tfdump.side_by_side.shrink.records import (
    EXPECTED,
    README,
    SEEN,
    CutPoint,
    NothingShrunk,
    PartFile,
    ShrinkRequest,
    Shrunk,
)
from tfdump.side_by_side.shrink.trial import Tried, is_alike, try_parts
from tfdump.side_by_side.shrink.values import TensorJudge, values_of
from tfdump.tensors import Array


def shrink_difference(
    sides: SideBySide,
    report: DiffReport,
    options: DiffOptions,
    request: ShrinkRequest,
    stage: Stage = silent_stage,
) -> Shrunk:
    """Write the folder with the smallest part of both sides that still differs.

    Parameters
    ----------
    sides : SideBySide
        Both sides, open, after the comparison.
    report : DiffReport
        The report of the comparison.
    options : DiffOptions
        The options of the comparison.
    request : ShrinkRequest
        The folder, and where the sides come from.
    stage : callable
        Called with the name of each stage.

    Returns
    -------
    Shrunk
        What was written.

    Raises
    ------
    NothingShrunk
        Where the sides agree, or what differs cannot be run by itself. Then there is no folder.
    DumpError
        Where the folder cannot be written.

    """
    if report.same:
        raise NothingShrunk("both sides agree")
    target = target_of(report)
    judge = TensorJudge(target, options)
    stage("Looking for the fewest examples that differ")
    examples = differing_examples(sides, judge)
    with tempfile.TemporaryDirectory(prefix="tfdump-") as folder:
        shrinking = _Shrinking(sides, report, options, request, judge, examples, Path(folder))
        stage(f"Looking for the smallest part that differs at {target.shown_name}")
        shrunk, tried = shrinking.smallest()
        shrinking.write_values(tried)
        (Path(folder) / README).write_text(readme_text(sides, shrunk, tried, request), "utf-8")
        move_folder(Path(folder), request.folder, request.force)
    return shrunk


@dataclass
class _Shrinking:
    """The search for the smallest part, in a folder of its own."""

    sides: SideBySide
    report: DiffReport
    options: DiffOptions
    request: ShrinkRequest
    judge: TensorJudge
    examples: Sequence[int]
    folder: Path

    @property
    def _target(self) -> TensorDiff:
        return self.judge.tensor

    def smallest(self) -> tuple[Shrunk, Tried]:
        """Write the smallest parts that differ, and return what they are and what they give."""
        from tfdump.model.cutting.records import UncutModel

        notes = self._notes()
        (full,) = values_of(self.sides.golden, [str(self._target.name)], self.examples)
        for points, whole in self._levels():
            self._clear()
            try:
                parts, tried = self._try(points, whole, full)
            except (UncutModel, TfdumpError, NothingShrunk) as cause:
                notes.append(f"{self._what(points, whole)}: {cause}")
                continue
            if tried is not None:
                shrunk = Shrunk(
                    self.request.folder, self._target, tuple(self.examples), tuple(points), parts, tuple(notes)
                )
                return shrunk, tried
            notes.append(f"{self._what(points, whole)}: it does not differ when it runs by itself")
        raise NothingShrunk(f"nothing smaller than the comparison differs by itself ({notes[-1]})")

    def _notes(self) -> list[str]:
        """Return a note where the layer that the report names is another one."""
        first = self.report.first
        if first is None or first.shown_name == self._target.shown_name:
            return []
        named = f"{first.shown_name} has no counterpart"
        return [f"{named}, so this is about the next tensor that both sides have: {self._target.shown_name}"]

    def _levels(self) -> Iterator[tuple[list[CutPoint], bool]]:
        for points in levels_of(self.sides, self.report, self._target):
            yield points, False
        yield inputs_of(self.sides), True

    def _what(self, points: Sequence[CutPoint], whole: bool) -> str:
        if whole:
            return "the whole models"
        return f"the part from {', '.join(point.golden for point in points)} to {self._target.shown_name}"

    def _clear(self) -> None:
        """Remove what the last attempt wrote."""
        from shutil import rmtree

        for path in self.folder.iterdir():
            rmtree(path) if path.is_dir() else path.unlink()

    def _try(
        self, points: Sequence[CutPoint], whole: bool, full: Array
    ) -> tuple[tuple[PartFile, PartFile], Tried | None]:
        feeds = feeds_of(self.sides, points, self.examples)
        arrays = write_inputs(feeds, self.folder)
        sources = (self.request.golden, self.request.new)
        golden, new = (self._part(place, points, feeds, whole) for place in (0, 1))
        uncut = all(part.whole for part in (golden, new) if part.file is not None)
        alone = golden.file is None or new.file is None
        options = self.options if uncut and not alone else options_of_part(self._target, self.options)
        tried = try_parts(self.sides, (golden, new), sources, arrays, self.examples, self.judge, options)
        if tried is not None and not uncut and not is_alike(full, tried.expected):
            tried = None
        if tried is not None and tried.options.renamed:
            (self.folder / MAP).write_text(map_text(tried.options), "utf-8")
        return (golden, new), tried

    def _part(self, place: int, points: Sequence[CutPoint], feeds: Sequence[Feed], whole: bool) -> PartFile:
        """Write the part of one side."""
        side = (self.sides.golden, self.sides.new)[place]
        source = (self.request.golden, self.request.new)[place]
        stem = self.folder / ("golden", "new")[place]
        if whole:
            return write_whole_side(side, source, stem)
        name = str((self._target.name, self._target.new_name)[place])
        return write_side(side, name, source, points, feeds, stem)

    def write_values(self, tried: Tried) -> None:
        """Write the expected and the seen values, in the axes of the golden side."""
        np.save(self.folder / EXPECTED, tried.expected)
        np.save(self.folder / SEEN, tried.turned)
