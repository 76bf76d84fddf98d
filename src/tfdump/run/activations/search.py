"""Searching the batches of an activation run for the first example that holds NaN or infinity."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from tfdump.dtypes import dtype_name, kind_of
from tfdump.dump import layout
from tfdump.dump.axis0 import EXAMPLE
from tfdump.dump.kinds.tensor_kind import TensorKind
from tfdump.inputs.source import Source
from tfdump.process.signals import raise_waiting
from tfdump.process.stages import Progress, silent_progress
from tfdump.run.activations.batches import run_batches
from tfdump.run.activations.plan import ActivationPlan
from tfdump.run.batching import Batches
from tfdump.run.example_axis import rows_at
from tfdump.run.finite import first_bad_row
from tfdump.run.pipeline import BatchOutput, Sink
from tfdump.tensors import PlannedTensor, Value

if TYPE_CHECKING:
    from tfdump.model.runnable import RunnableProbe


@dataclass(frozen=True)
class BatchTensor:
    """One tensor in the batch where a search stopped.

    `value` is its row for the bad example, or all of it where it has no row per example, and None where the batch did
    not give it. `kind` is what the batches so far tell about the tensor.
    """

    planned: PlannedTensor
    kind: TensorKind
    value: Value | None


@dataclass(frozen=True)
class BadExample:
    """The first example that holds NaN or infinity, as it was computed in its batch.

    `number` counts from the first example of the source, and the batch has the examples from `start` up to `stop`.
    `tensor` is the group and address of the first bad tensor. `named` is False where all bad tensors belong to the
    whole batch: then the example is the first one of the batch. `late` are the addresses that were called in other
    batches than the first one.
    """

    number: int
    start: int
    stop: int
    tensor: str
    named: bool
    tensors: tuple[BatchTensor, ...]
    late: frozenset[str]


def search_batches(
    probe: "RunnableProbe",
    source: Source,
    plan: ActivationPlan,
    inputs: Sequence[PlannedTensor],
    allow_inf: bool = False,
    progress: Progress = silent_progress,
) -> BadExample | None:
    """Run the batches until one holds NaN or infinity; return its first bad example, None where all batches are clean.

    The planned tensors and the `inputs` are searched as they are computed and fed, without the rows that pad a batch.
    With `allow_inf`, only NaN counts.
    """
    search = _Search([*plan.tensors, *inputs], plan, allow_inf)
    output = BatchOutput(search.sinks, search.check, progress)
    try:
        run_batches(probe, source, plan, [planned.info.address for planned in inputs], output, with_late=True)
    except _StopSearch:
        raise_waiting()
        return search.example
    raise_waiting()
    return None


class _StopSearch(Exception):
    """Ends the run at the first bad batch."""


@dataclass(frozen=True)
class _Looked:
    """The value of a tensor without padding, whether it is bad, and its first bad row if it has one per example."""

    value: Value
    bad: bool
    row: int | None


class _TensorSearch:
    """Looks at one tensor, batch by batch; `last` is what it saw in the batch before `check`."""

    def __init__(self, planned: PlannedTensor, padded_to: int | None, allow_inf: bool) -> None:
        self.planned = planned
        self.kind = TensorKind(planned.info, planned.axis0, padded_to)
        self.last: _Looked | None = None
        self.busy = kind_of(planned.info.dtype) in "fc"
        self._allow_inf = allow_inf

    def prepare(self, value: Value, examples: int) -> _Looked:
        """Look at the value for one batch."""
        value = self.kind.take(value, examples)
        row = first_bad_row(value, self._allow_inf)
        return _Looked(value, row is not None, row if self.kind.axis0 == EXAMPLE else None)

    def store(self, looked: _Looked) -> None:
        """Remember what `prepare` saw until the whole batch has been looked at."""
        self.last = looked

    def at(self, row: int) -> BatchTensor:
        """Return the tensor with its row for one example."""
        value = None if self.last is None else self.last.value
        if value is not None and self.kind.axis0 == EXAMPLE:
            value = rows_at(value, [row])
        return BatchTensor(self.planned, self.kind, value)


class _LateAddresses:
    """Takes the addresses that come after the values of the tensors."""

    busy = False

    def __init__(self) -> None:
        self.addresses: frozenset[str] = frozenset()

    def prepare(self, value: Any, examples: int) -> Any:
        """Return the addresses."""
        return value

    def store(self, value: Any) -> None:
        """Take the addresses of one batch."""
        self.addresses = value


class _Search:
    """The search in all tensors of a batch, whose values arrive in `sinks`; `check` is called after each batch."""

    def __init__(self, tensors: Sequence[PlannedTensor], plan: ActivationPlan, allow_inf: bool) -> None:
        self.example: BadExample | None = None
        padded = [None if planned.group == layout.INPUTS else plan.fixed for planned in tensors]
        self._tensors = [_TensorSearch(*pair, allow_inf) for pair in zip(tensors, padded, strict=True)]
        self._late = _LateAddresses()
        self._bounds = iter(plan.batches)
        self.sinks: list[Sink] = [*self._tensors, self._late]

    def check(self) -> None:
        """Stop where the batch was bad, and forget it otherwise."""
        start, stop = next(self._bounds)
        bad = [(one, one.last) for one in self._tensors if one.last is not None and one.last.bad]
        if bad:
            self.example = self._example(start, stop, bad)
            raise _StopSearch
        for one in self._tensors:
            one.last = None

    def _example(self, start: int, stop: int, bad: list[tuple[_TensorSearch, _Looked]]) -> BadExample:
        """Return the first bad example of a batch.

        A tensor that mixes examples can spread one bad example over its batch, so the others decide where they can.
        """
        rows = [(looked.row, one) for one, looked in bad if looked.row is not None]
        own = [row for row, one in rows if not (one.planned.mixes or one.kind.depends_on_batch)]
        row = min(own) if own else rows[0][0] if rows else 0
        inputs_first = sorted(bad, key=lambda pair: pair[0].planned.group != layout.INPUTS)
        first = next((one for one, looked in inputs_first if looked.row in (row, None)), inputs_first[0][0])
        return BadExample(
            start + row,
            start,
            stop,
            f"{first.planned.group}/{first.planned.info.address}",
            bool(rows),
            tuple(one.at(row) for one in self._tensors),
            self._late.addresses,
        )


def stored_plan(plan: ActivationPlan, example: BadExample) -> ActivationPlan:
    """Return the plan of a dump of one example, whose tensors are as they were in its batch."""
    tensors = []
    for item in example.tensors:
        if item.planned.group == layout.INPUTS:
            continue
        info = item.kind.info
        if item.kind.lost is not None and item.value is not None:
            info = replace(info, dtype=dtype_name(item.value.dtype))
        tensors.append(replace(item.planned, info=info, axis0=item.kind.axis0))
    padded = plan.fixed is not None and example.stop - example.start < plan.fixed
    padding = plan.padding if padded else 0
    return replace(plan, batches=Batches(1, 1), fixed=None, tensors=tensors, padding=padding)
