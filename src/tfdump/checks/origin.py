"""Where NaN and Inf begin: the tensors that have them while all that these were computed from is clean.

A dump that does not tell what its tensors read is searched in the order of execution; see `execution_order`.
"""

from collections.abc import Sequence
from dataclasses import replace

from tfdump.checks.execution_order import BadTensors, ExecutionPass, first_in_order, inputs_themselves, passes
from tfdump.checks.origin_records import Origin, OriginInput
from tfdump.checks.origin_search import GraphSearch, Searched, Start
from tfdump.checks.origin_values import first_in_row, value_of_input
from tfdump.checks.origin_words import (
    NOT_CHECKED,
    NOT_HELD,
    WORDS,
    after_said,
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
from tfdump.checks.tensor_graph import BackwardGraph, ForwardGraph, Reads, TensorGraph
from tfdump.dump import layout
from tfdump.dump.attributes import full_name
from tfdump.dump.tensor import Tensor

_MODEL_INPUT = f"{layout.INPUTS}/"
_OTHER = {"nan": "inf", "inf": "nan"}
_PARTLY = " (only part of the values was read)"


def origins(searched: Searched, findings: Sequence[Finding]) -> list[Origin]:
    """Return where NaN and Inf begin in every pass. A bad input is an origin of its own."""
    bad: BadTensors = {check: {} for check in WORDS}
    for finding in findings:
        if finding.check in bad:
            bad[finding.check][finding.tensor] = finding
    forward, backward = passes(searched.tensors, searched.loss_by_step)
    graph, gradients = ForwardGraph(searched.tensors), BackwardGraph(searched.tensors, searched.without_gradient)
    ahead = _Pass(searched, bad, forward, graph if graph.tells else None)
    back = _Pass(searched, bad, backward, gradients if gradients.tells and not backward.stepwise else None)
    return [
        origin
        for check in WORDS
        for origin in (*inputs_themselves(forward, bad, check), *ahead.origins(check), *back.origins(check))
    ]


class _Pass:
    """Describes the origins of one pass; without a graph, those in the order of execution."""

    def __init__(self, searched: Searched, bad: BadTensors, order: ExecutionPass, graph: TensorGraph | None) -> None:
        self._searched = searched
        self._bad = bad
        self._order = order
        self._search = GraphSearch(searched, bad, graph) if graph is not None else None
        self._tensors = {full_name(tensor): tensor for tensor in searched.tensors}

    def origins(self, check: str) -> list[Origin]:
        """Return the origins of a check.

        Where the graph has none, as a circle may, they are those in the order of execution.
        """
        bad = self._bad[check]
        if self._search is not None and not (self._order.backward and layout.LOSS in bad):
            starts = self._search.starts(check)
            if starts or any(name in bad for name in self._order.before):
                return [self._origin(start, self._search.causes(start)) for start in starts]
        first = first_in_order(self._order, self._bad, check, self._searched.looked_at)
        return [self._described(origin) for origin in first]

    def _origin(self, start: Start, causes: Sequence[Finding]) -> Origin:
        finding, tensor = self._placed(start), self._tensors[start.finding.tensor]
        inputs = self._inputs(finding, tensor, start.sources)
        missing = [item for item in inputs if item.reason is not None]
        partly = not self._searched.sampled.isdisjoint([finding.tensor, *start.sources.read])
        after = after_said(WORDS[_OTHER[finding.check]], [self._tensors[cause.tensor] for cause in causes])
        if not start.sources.known and not start.sources.read:
            message = self._before(finding, start, after)
        elif self._order.backward:
            message = self._backward(finding, tensor, start.sources, after)
        else:
            message = self._forward(finding, tensor, inputs, after)
        if partly:
            message = message.replace(" starts in ", " first appears in ", 1) + _PARTLY
        return replace(
            self._described(Origin(finding.check, finding.tensor, finding.example, finding.index, message)),
            example_id=finding.example_id,
            inputs=tuple(inputs),
            certain=start.sources.known and not missing and not partly,
        )

    def _described(self, origin: Origin) -> Origin:
        """Return an origin with the operation and the line of code."""
        tensor = self._tensors.get(origin.tensor)
        return origin if tensor is None else replace(origin, operation=operation_of(tensor), source=source_of(tensor))

    def _placed(self, start: Start) -> Finding:
        """Return a finding with the first element that nothing explains."""
        row = None if start.rest is None else start.rest.first
        if row is None:
            return start.finding
        index = first_in_row(self._tensors[start.finding.tensor], row, start.finding.check)
        number = row + self._searched.first_example
        return replace(start.finding, example=number, index=index, example_id=self._searched.example_id(number))

    def _inputs(self, finding: Finding, tensor: Tensor, sources: Reads) -> list[OriginInput]:
        """Return what the sources of an origin hold there, in the order in which they are read."""
        operation = operation_of(tensor)
        held = self._searched.held
        return [
            *(value_of_input(tensor, finding.index, self._tensors[read], operation) for read in sources.read),
            *(OriginInput(name, NOT_CHECKED if name in held else NOT_HELD) for name in sources.missing),
        ]

    def _forward(self, finding: Finding, tensor: Tensor, inputs: Sequence[OriginInput], after: str) -> str:
        word, what = WORDS[finding.check], subject(tensor, finding) + after
        known = [item for item in inputs if item.reason is None]
        fed = [item for item in inputs if item.reason is not None and item.tensor.startswith(_MODEL_INPUT)]
        missing = [item for item in inputs if item.reason is not None and item not in fed]
        text = inputs_said(known, operation_of(tensor), self._bad["inf"]) if known or not inputs else ""
        if missing:
            return "; ".join(filter(None, [f"{word} first appears in {what}", missing_said([*missing, *fed]), text]))
        lead = f"{word} starts in {what}" + (alternatives(fed) if fed else "")
        return f"{lead}: {text}" if text else lead

    def _backward(self, finding: Finding, tensor: Tensor, sources: Reads, after: str) -> str:
        lead = f"{WORDS[finding.check]} starts in {subject(tensor, finding)}{after}: "
        if tensor.group == layout.WEIGHT_GRADIENTS:
            return lead + layer_outputs_said([self._tensors[read] for read in sources.read])
        if not sources.read:
            finite = self._searched.loss_is_known and layout.LOSS not in self._bad["inf"]
            return f"{lead}it comes straight from the loss" + (", which is finite" if finite else "")
        doubt = "" if sources.known else "; the gradients of other layers that read it may not be in the dump"
        readers = [(self._tensors[read], read in self._bad["inf"]) for read in sources.read]
        return f"{lead}it passes backward through {readers_said(readers)}{doubt}"

    def _before(self, finding: Finding, start: Start, after: str) -> str:
        """Return the message for a tensor of which the dump does not tell what it was computed from."""
        text = f"{WORDS[finding.check]} first appears in {self._order.at(finding)}"
        if after:
            return text + after
        where = "nearer to the loss" if self._order.backward else "before it"
        every = " in that example" if start.rest is not None else ""
        return f"{text}; {self._searched.looked_at} {where} is clean{every}"
