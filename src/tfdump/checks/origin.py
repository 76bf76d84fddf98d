"""Where NaN and Inf begin: the tensors that have them while all that these were computed from is clean.

A dump that does not tell what its tensors read is searched in the order of execution; see `execution_order`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from tfdump.checks.bad_rows import BadRows
from tfdump.checks.execution_order import ExecutionPass, first_in_order, inputs_themselves, passes
from tfdump.checks.origin_records import Origin, OriginInput
from tfdump.checks.origin_values import first_in_row, value_of_input
from tfdump.checks.origin_words import (
    NOT_CHECKED,
    NOT_HELD,
    WORDS,
    alternatives,
    inputs_said,
    layer_outputs_said,
    missing_said,
    operation_of,
    readers_said,
    source_of,
    subject,
)
from tfdump.checks.records import Finding
from tfdump.checks.tensor_graph import BackwardGraph, ForwardGraph, Sources, TensorGraph
from tfdump.dump import layout
from tfdump.dump.attributes import full_name
from tfdump.dump.tensor import Tensor

_MODEL_INPUT = f"{layout.INPUTS}/"
_PARTLY = " (only part of the values was read)"


@dataclass(frozen=True)
class Searched:
    """The tensors of a dump in which NaN and Inf were looked for.

    Attributes
    ----------
    tensors : sequence of Tensor
        The tensors that were checked.
    bad_rows : mapping
        By the name of a tensor: its bad rows by the name of the check, as far as they are known.
    held : frozenset of str
        Names of all tensors in the dump.
    sampled : frozenset of str
        Names of the tensors of which only part was read.
    mixing : frozenset of str or None
        Names of the tensors whose rows depend on other examples; None if all may.
    without_gradient : frozenset of str
        Addresses of activations that cannot have a gradient.
    first_example : int
        Number of the first example in the input.
    loss_is_known, loss_by_step : bool
        Whether the dump has a loss, and whether it is one number per step.
    looked_at : str
        `everything`, or which part of it was searched.
    """

    tensors: Sequence[Tensor]
    bad_rows: Mapping[str, Mapping[str, BadRows]]
    held: frozenset[str]
    sampled: frozenset[str] = frozenset()
    mixing: frozenset[str] | None = frozenset()
    without_gradient: frozenset[str] = frozenset()
    first_example: int = 0
    loss_is_known: bool = False
    loss_by_step: bool = False
    looked_at: str = "everything"


@dataclass(frozen=True)
class _Start:
    """A tensor where NaN or Inf begins: `rest` are the bad rows that nothing explains, if only some are explained."""

    finding: Finding
    sources: Sources
    rest: BadRows | None


def origins(searched: Searched, findings: Sequence[Finding]) -> list[Origin]:
    """Return where NaN and Inf begin in every pass. A bad input is an origin of its own."""
    search = _Search(searched, findings)
    forward, backward = passes(searched.tensors, searched.loss_by_step)
    graph = ForwardGraph(searched.tensors)
    gradients = BackwardGraph(searched.tensors, searched.without_gradient)
    stepwise = bool(backward.stepwise)
    starts: list[Origin] = []
    for check in WORDS:
        starts += inputs_themselves(forward, search.bad, check)
        starts += search.along(graph, forward, check) if graph.tells else search.in_order(forward, check)
        by_graph = gradients.tells and not stepwise and layout.LOSS not in search.bad[check]
        starts += search.along(gradients, backward, check) if by_graph else search.in_order(backward, check)
    return starts


class _Search:
    """Looks for the origins of one dump."""

    def __init__(self, searched: Searched, findings: Iterable[Finding]) -> None:
        self._searched = searched
        self._tensors = {full_name(tensor): tensor for tensor in searched.tensors}
        self.bad: dict[str, dict[str, Finding]] = {check: {} for check in WORDS}
        for finding in findings:
            if finding.check in self.bad:
                self.bad[finding.check][finding.tensor] = finding

    def in_order(self, one: ExecutionPass, check: str) -> list[Origin]:
        """Return the first bad tensor in the order of execution."""
        return [self._described(start) for start in first_in_order(one, self.bad, check, self._searched.looked_at)]

    def along(self, graph: TensorGraph, one: ExecutionPass, check: str) -> list[Origin]:
        """Return the origins along a graph; in the order of execution if the graph has none, as a circle may."""
        bad = self.bad[check]
        names = [name for name in graph.order if name in bad and not name.startswith(_MODEL_INPUT)]
        starts = [start for name in names if (start := self._start(graph, name, bad)) is not None]
        if not starts:
            bad_inputs = any(name in bad for name in one.before)
            return [] if bad_inputs else self.in_order(one, check)
        return [self._origin(one, start) for start in starts]

    def _start(self, graph: TensorGraph, name: str, bad: Mapping[str, Finding]) -> _Start | None:
        """Return a bad tensor as an origin; None if all that is bad in it may come from other bad tensors."""
        rows = None if self._mixes(name) else self._rows(name, bad[name].check)
        rest = rows
        for other in graph.explaining(name, bad):
            theirs = self._rows(other, bad[other].check)
            rest = None if rest is None or theirs is None else rest.without(theirs)
            if rest is None or rest.first is None:
                return None
        return _Start(bad[name], graph.sources(name), None if rest is rows else rest)

    def _rows(self, name: str, check: str) -> BadRows | None:
        return self._searched.bad_rows.get(name, {}).get(check)

    def _mixes(self, name: str) -> bool:
        """Tell whether the rows of a tensor may depend on those of other examples."""
        mixing = self._searched.mixing
        return mixing is None or name in mixing or name.removeprefix(f"{layout.ACTIVATIONS}/") in mixing

    def _origin(self, one: ExecutionPass, start: _Start) -> Origin:
        finding, tensor = self._placed(start), self._tensors[start.finding.tensor]
        inputs = self._inputs(finding, tensor, start.sources)
        missing = [item for item in inputs if item.reason is not None]
        partly = not self._searched.sampled.isdisjoint([finding.tensor, *start.sources.read])
        if one.backward:
            message = self._backward(one, finding, tensor, start)
        else:
            message = self._forward(one, finding, tensor, start, inputs)
        if partly:
            message = message.replace(" starts in ", " first appears in ", 1) + _PARTLY
        return replace(
            self._described(Origin(finding.check, finding.tensor, finding.example, finding.index, message)),
            inputs=tuple(inputs),
            certain=start.sources.known and not missing and not partly,
        )

    def _described(self, origin: Origin) -> Origin:
        """Return an origin with the operation and the line of code."""
        tensor = self._tensors.get(origin.tensor)
        return origin if tensor is None else replace(origin, operation=operation_of(tensor), source=source_of(tensor))

    def _placed(self, start: _Start) -> Finding:
        """Return a finding with the first element that nothing explains."""
        row = None if start.rest is None else start.rest.first
        if row is None:
            return start.finding
        index = first_in_row(self._tensors[start.finding.tensor], row, start.finding.check)
        return replace(start.finding, example=row + self._searched.first_example, index=index)

    def _inputs(self, finding: Finding, tensor: Tensor, sources: Sources) -> list[OriginInput]:
        """Return what the sources of an origin hold there, in the order in which they are read."""
        operation = operation_of(tensor)
        held = self._searched.held
        return [
            *(value_of_input(tensor, finding.index, self._tensors[read], operation) for read in sources.read),
            *(OriginInput(name, NOT_CHECKED if name in held else NOT_HELD) for name in sources.missing),
        ]

    def _forward(
        self, one: ExecutionPass, finding: Finding, tensor: Tensor, start: _Start, inputs: Sequence[OriginInput]
    ) -> str:
        if not start.sources.known:
            return self._before(one, finding, start)
        word, what = WORDS[finding.check], subject(tensor, finding.example, finding.index)
        known = [item for item in inputs if item.reason is None]
        fed = [item for item in inputs if item.reason is not None and item.tensor.startswith(_MODEL_INPUT)]
        missing = [item for item in inputs if item.reason is not None and item not in fed]
        text = inputs_said(known, operation_of(tensor), self.bad["inf"]) if known or not inputs else ""
        if missing:
            return "; ".join(filter(None, [f"{word} first appears in {what}", missing_said([*missing, *fed]), text]))
        lead = f"{word} starts in {what}" + (alternatives(fed) if fed else "")
        return f"{lead}: {text}" if text else lead

    def _backward(self, one: ExecutionPass, finding: Finding, tensor: Tensor, start: _Start) -> str:
        sources = start.sources
        if not sources.known and not sources.read:
            return self._before(one, finding, start)
        lead = f"{WORDS[finding.check]} starts in {subject(tensor, finding.example, finding.index)}: "
        if tensor.group == layout.WEIGHT_GRADIENTS:
            return lead + layer_outputs_said([self._tensors[read] for read in sources.read])
        if not sources.read:
            finite = self._searched.loss_is_known and layout.LOSS not in self.bad["inf"]
            return f"{lead}it comes straight from the loss" + (", which is finite" if finite else "")
        doubt = "" if sources.known else "; the gradients of other layers that read it may not be in the dump"
        readers = [(self._tensors[read], read in self.bad["inf"]) for read in sources.read]
        return f"{lead}it passes backward through {readers_said(readers)}{doubt}"

    def _before(self, one: ExecutionPass, finding: Finding, start: _Start) -> str:
        """Return the message for a tensor of which the dump does not tell what it was computed from."""
        where = "nearer to the loss" if one.backward else "before it"
        text = f"{WORDS[finding.check]} first appears in {one.at(finding)}; {self._searched.looked_at} {where} is clean"
        return text + (" in that example" if start.rest is not None else "")
