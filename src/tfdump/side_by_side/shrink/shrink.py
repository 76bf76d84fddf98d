"""Cuts a difference down: the fewest examples, then the smallest part of the models, that still differ."""

import shutil
import tempfile
from collections.abc import Sequence
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
from tfdump.side_by_side.shrink.plan import enclosing, input_points, levels_of, target_of
from tfdump.side_by_side.shrink.readme import readme_text
from tfdump.side_by_side.shrink.records import (
    ACTUAL,
    EXPECTED,
    README,
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
    first = target_of(report)
    stage("Looking for the fewest examples that differ")
    notes = _notes(report, first)
    with tempfile.TemporaryDirectory(prefix="tfdump-") as folder:
        shrinking = _Shrinking(sides, report, options, request, Path(folder), notes)
        stage(f"Looking for the smallest part that differs at {first.shown_name}")
        shrunk, tried = shrinking.smallest(first)
        shrinking.write_values(tried)
        (Path(folder) / README).write_text(readme_text(sides, shrunk, tried, request), "utf-8")
        move_folder(Path(folder), request.folder, request.force)
    return shrunk


def _notes(report: DiffReport, target: TensorDiff) -> list[str]:
    """Return a note where the layer that the report names is another one than that of the first pair that differs."""
    first = report.first
    if first is None or first.shown_name == target.shown_name:
        return []
    named = f"{first.shown_name} has no counterpart"
    return [f"{named}, so this is about the next tensor that both sides have: {target.shown_name}"]


@dataclass(frozen=True)
class _Goal:
    """A tensor that parts end with, how it is judged, the examples, and what the golden side computes for them."""

    judge: TensorJudge
    examples: Sequence[int]
    full: Array

    @property
    def tensor(self) -> TensorDiff:
        """The verdict on the tensor."""
        return self.judge.tensor


@dataclass
class _Shrinking:
    """The search for the smallest part, in a folder of its own; `notes` tell what was tried without success."""

    sides: SideBySide
    report: DiffReport
    options: DiffOptions
    request: ShrinkRequest
    folder: Path
    notes: list[str]
    _uncut: bool = False

    def smallest(self, first: TensorDiff) -> tuple[Shrunk, Tried]:
        """Write the smallest parts that differ, and return what they are and what they give.

        They end at the first tensor that differs, or else at the layer around it, or are the whole models.
        """
        goal = self._goal(first)
        for target in (first, *enclosing(self.report, first)):
            own = goal if target is first else self._goal(target)
            for points in levels_of(self.sides, self.report, target):
                result = self._cut(own, points)
                if result is not None:
                    return result
        result = self._attempt(goal, input_points(self.sides), whole=True)
        if result is None:
            raise NothingShrunk(f"nothing smaller than the comparison differs by itself ({self.notes[-1]})")
        return result

    def _goal(self, target: TensorDiff) -> _Goal:
        judge = TensorJudge(target, self.options)
        examples = differing_examples(self.sides, judge)
        (full,) = values_of(self.sides.golden, [str(target.name)], examples)
        return _Goal(judge, examples, full)

    def _cut(self, goal: _Goal, points: Sequence[CutPoint]) -> tuple[Shrunk, Tried] | None:
        """Try the parts that begin at some points: without the inputs of the model, as given, and with all of them.

        A mask comes from the inputs. Some layers read it, and others have it beside a tensor.
        """
        inputs = input_points(self.sides)
        inside = [point for point in points if point not in inputs]
        ways = [list(points)] if not inside else [inside, list(points), [*inside, *inputs]]
        for place, way in enumerate(ways):
            if way in ways[:place]:
                continue
            result = self._attempt(goal, way, whole=False)
            if result is not None or (way == list(points) and not self._uncut):
                return result
        return None

    def _attempt(self, goal: _Goal, points: Sequence[CutPoint], *, whole: bool) -> tuple[Shrunk, Tried] | None:
        """Write parts and try them; where they do not differ, note why and return None."""
        from tfdump.model.cutting.records import UncutModel

        self._clear()
        tried, self._uncut = None, False
        try:
            parts, tried = self._write(goal, points, whole)
            reason = "it does not differ in the same way when it runs by itself"
        except UncutModel as cause:
            self._uncut, reason = True, str(cause)
        except (TfdumpError, NothingShrunk) as cause:
            reason = str(cause)
        if tried is None:
            self._note(goal, points, whole, reason)
            return None
        notes = tuple(self.notes)
        return Shrunk(self.request.folder, goal.tensor, tuple(goal.examples), tuple(points), parts, notes), tried

    def _note(self, goal: _Goal, points: Sequence[CutPoint], whole: bool, reason: str) -> None:
        """Note why a part is not what is written; each reason once."""
        what = f"the part from {', '.join(point.golden for point in points)} to {goal.tensor.shown_name}"
        if not any(note.endswith(f": {reason}") for note in self.notes):
            self.notes.append(f"not {'the whole models' if whole else what}: {reason}")

    def _clear(self) -> None:
        """Remove what the last attempt wrote."""
        for path in self.folder.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    def _write(
        self, goal: _Goal, points: Sequence[CutPoint], whole: bool
    ) -> tuple[tuple[PartFile, PartFile], Tried | None]:
        """Write parts and their inputs; return the parts, and what they give if they differ."""
        from tfdump.model.cutting.records import UncutModel

        feeds = feeds_of(self.sides, points, goal.examples)
        arrays = write_inputs(feeds, self.folder)
        golden, new = (self._part(place, goal, points, feeds, whole) for place in (0, 1))
        uncut = all(part.whole for part in (golden, new) if part.file is not None)
        if uncut and not whole:
            raise UncutModel(golden.reason or new.reason)
        alone = golden.file is None or new.file is None
        options = self.options if uncut and not alone else options_of_part(goal.tensor, self.options)
        sources = (self.request.golden, self.request.new)
        tried = try_parts(self.sides, (golden, new), sources, arrays, goal.examples, goal.judge, options)
        if tried is not None and not uncut and not is_alike(goal.full, tried.expected):
            tried = None
        if tried is not None and tried.options.renamed:
            (self.folder / MAP).write_text(map_text(tried.options), "utf-8")
        return (golden, new), tried

    def _part(
        self, place: int, goal: _Goal, points: Sequence[CutPoint], feeds: Sequence[Feed], whole: bool
    ) -> PartFile:
        """Write the part of one side."""
        side = (self.sides.golden, self.sides.new)[place]
        source = (self.request.golden, self.request.new)[place]
        stem = self.folder / ("golden", "new")[place]
        if whole:
            return write_whole_side(side, source, stem)
        name = str((goal.tensor.name, goal.tensor.new_name)[place])
        return write_side(side, name, source, points, feeds, stem)

    def write_values(self, tried: Tried) -> None:
        """Write the expected and the seen values, in the axes of the golden side."""
        np.save(self.folder / EXPECTED, tried.expected)
        np.save(self.folder / ACTUAL, tried.turned)
