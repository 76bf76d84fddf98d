"""Two sides that go through the batches of their inputs together."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from dataclasses import replace

from tfdump.comparison.blame import blame_of
from tfdump.comparison.diff import compare_sides
from tfdump.comparison.examples.side_examples import SideExamples
from tfdump.comparison.options import DiffOptions
from tfdump.comparison.plain_arrays import Item
from tfdump.comparison.sides import Side
from tfdump.comparison.values.layouts import stored_item
from tfdump.comparison.verdict import DiffReport
from tfdump.dump import layout
from tfdump.errors import InputError
from tfdump.process.signals import raise_waiting
from tfdump.process.stages import Progress, silent_progress
from tfdump.side_by_side.dump_inputs import IdentityNames
from tfdump.side_by_side.dump_side import DumpSide
from tfdump.side_by_side.isolation import Isolation
from tfdump.side_by_side.judging import BatchJudge
from tfdump.side_by_side.live_tensors import LiveTensor
from tfdump.side_by_side.model_side import CallValues, ModelSide, is_keras
from tfdump.side_by_side.options import SideBySideOptions
from tfdump.side_by_side.places_in_batches import BatchPlace
from tfdump.tensors import listed

AnySide = ModelSide | DumpSide

_Computed = Callable[[], list[CallValues]]
"""Returns the values of one batch of a model, which may still be computed."""


def check_layouts(options: DiffOptions) -> None:
    """Raise InputError for an order of axes that moves the examples, which are read batch by batch."""
    for glob, axes in options.transpose:
        if axes and axes[0] != 0:
            raise InputError(
                f"--transpose '{glob}={','.join(map(str, axes))}' moves the first axis, and batches need the examples "
                "first (dump both sides with -o FOLDER)"
            )


class SideBySide:
    """Two sides, of which at least one is a model, and how many examples are compared at once (`step`)."""

    def __init__(self, golden: AnySide, new: AnySide, step: int, options: SideBySideOptions) -> None:
        self.golden = golden
        self.new = new
        self.step = step
        self.options = options
        self.models = [side for side in (golden, new) if isinstance(side, ModelSide)]
        self.examples = self.models[0].run.source.examples

    def compare(self, options: DiffOptions, first: bool = False, progress: Progress = silent_progress) -> DiffReport:
        """Run both sides over all examples, and return the report; see `tfdump.compare`.

        With `first`, stop at the first batch that differs. The models can be run through only once.
        """
        check_layouts(options)
        with self._isolated() as isolation:
            stop = min(self.step, self.examples)
            sides = [self._open(side, stop) for side in (self.golden, self.new)]
            self._agree_on_inputs(sides)
            judge = BatchJudge(self, first, progress, isolation)
            report = compare_sides(sides[0], sides[1], options, judge)
        notes = [*self._notes(judge), *(isolation.notes() if isolation is not None else ())]
        return replace(report, notes=(*report.notes, *notes), blame=blame_of(report.tensors))

    @contextmanager
    def _isolated(self) -> Iterator[Isolation | None]:
        """Yield what isolates the errors of layers, or None where nothing asks for them."""
        if not self.options.isolates:
            yield None
            return
        keras = next(side for side in self.models if is_keras(side.run.loaded))
        isolation = Isolation(keras, keras is self.golden, self.options.influence)
        try:
            yield isolation
        finally:
            isolation.close()

    def _open(self, side: AnySide, stop: int) -> Side:
        """Return a side with the values of the first examples, up to `stop`, in its tensors."""
        if isinstance(side, ModelSide):
            return side.open(side.compute(side.read(0, stop)))
        return side.open(stop, self.models[0].call_size)

    def _agree_on_inputs(self, sides: list[Side]) -> None:
        """Let both sides have the same hashes and examples, because these were compared when they were opened."""
        examples = self._named_examples()
        model = next(
            opened for side, opened in zip((self.golden, self.new), sides, strict=True) if isinstance(side, ModelSide)
        )
        for side in sides:
            side.examples = examples
            for name in (layout.INPUTS_SHA256, "first_example"):
                side.attributes[name] = model.attributes[name]

    def _named_examples(self) -> SideExamples | None:
        """Return the names of all examples that are compared: those of the inputs, or else those of a dump."""
        identity = self.models[0].run.source.identity
        if identity is not None:
            return SideExamples(IdentityNames(identity), self.examples)
        dumps = (side.names(self.examples) for side in (self.golden, self.new) if isinstance(side, DumpSide))
        return next(dumps, None)

    def _notes(self, judge: BatchJudge) -> list[str]:
        notes = []
        if judge.stopped:
            notes.append(
                f"stopped at the first batch that differs: {judge.examples} of {self.examples} examples were compared"
            )
        for model in self.models:
            notes += model.changed()
            if model.run.probe.late:
                late = listed(sorted(model.run.probe.late))
                notes.append(f"{model.name}: not compared, because they are not called in the first batch: {late}")
            if model.run.probe.random:
                notes.append(
                    f"{model.name} draws random numbers, so its values may differ for that reason alone (--seed N "
                    "makes them repeatable)"
                )
        return notes

    def tensor(self, item: Item) -> LiveTensor:
        """Return the tensor behind an item of a pair, which may be in another layout or in real numbers."""
        original = stored_item(item)
        assert isinstance(original, LiveTensor)
        return original

    def places(self) -> Iterator[BatchPlace]:
        """Yield the place of each batch, while the tensors of both sides hold its values.

        The models compute the next batch meanwhile.
        """
        size = max(model.call_size for model in self.models)
        waiting: list[_Computed] = []
        with ThreadPoolExecutor(len(self.models), "tfdump-compare") as pool:
            for number, start in enumerate(range(0, self.examples, self.step)):
                raise_waiting()
                stop = min(start + self.step, self.examples)
                values = [computed() for computed in waiting]
                following = range(stop, min(stop + self.step, self.examples))
                waiting = [self._begin(model, following, pool) for model in self.models] if following else []
                if number:  # the values of the first batch are in the tensors already
                    self._put(values, start, stop)
                del values
                yield BatchPlace(number, start, stop - start, start // size, size)

    def _begin(self, model: ModelSide, examples: range, pool: ThreadPoolExecutor) -> _Computed:
        calls = model.read(examples.start, examples.stop)
        if not model.runs_apart:
            return lambda: model.compute(calls)
        future: Future[list[CallValues]] = pool.submit(copy_context().run, model.compute, calls)
        return future.result

    def _put(self, values: list[list[CallValues]], start: int, stop: int) -> None:
        """Put the values of a batch into the tensors."""
        for model, computed in zip(self.models, values, strict=True):
            model.put(computed)
        for side in (self.golden, self.new):
            if isinstance(side, DumpSide):
                side.put(start, stop, self.models[0].call_size)
