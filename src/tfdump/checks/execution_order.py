"""Where NaN and Inf begin in a dump that does not tell what its tensors read: in the order of execution."""

from collections.abc import Sequence
from dataclasses import dataclass

from tfdump.checks.origin_records import Origin
from tfdump.checks.origin_words import WORDS
from tfdump.checks.records import Finding
from tfdump.checks.tensor_graph import forward_order
from tfdump.dump import layout
from tfdump.dump.attributes import full_name
from tfdump.dump.axis0 import STEP
from tfdump.dump.examples import example_aside
from tfdump.dump.graph.backward_order import backward_order
from tfdump.dump.tensor import Tensor

BadTensors = dict[str, dict[str, Finding]]
"""The findings by the name of the check, and then by that of the tensor."""


@dataclass(frozen=True)
class ExecutionPass:
    """The names of the tensors of one pass in the order of execution; `stepwise` are those with one row per step.

    `before` has names that come before the pass and are not part of it.
    """

    names: tuple[str, ...]
    before: tuple[str, ...] = ()
    stepwise: frozenset[str] = frozenset()
    backward: bool = False

    def step(self, finding: Finding) -> int | None:
        """Return the step of the first bad element, or None if the tensor has no steps."""
        return finding.index[0] if finding.tensor in self.stepwise and finding.index else None

    def moment(self, finding: Finding) -> tuple[int, int]:
        """Return when the first bad element was computed: the step, and the place in the order of execution."""
        return self.step(finding) or 0, (*self.before, *self.names).index(finding.tensor)

    def first(self, bad: dict[str, Finding], names: Sequence[str]) -> Finding | None:
        """Return the earliest of the findings in tensors of these names."""
        return min((bad[name] for name in names if name in bad), key=self.moment, default=None)

    def at(self, finding: Finding) -> str:
        """Return the tensor of a finding, with its example or step."""
        name, step = finding.tensor.removeprefix(f"{layout.ACTIVATIONS}/"), self.step(finding)
        if step is not None:
            return f"'{name}' (step {step})"
        place = example_aside(finding.example, finding.example_id) if finding.example is not None else ""
        return f"'{name}' {place}".rstrip()


def passes(tensors: Sequence[Tensor], loss_by_step: bool) -> list[ExecutionPass]:
    """Return the forward and the backward pass of a dump; in the latter, the weights and the loss come first."""
    forward = forward_order(tensors)
    inputs = tuple(full_name(tensor) for tensor in forward if tensor.group == layout.INPUTS)
    others = tuple(full_name(tensor) for tensor in forward if tensor.group != layout.INPUTS)
    weights = [tensor for tensor in tensors if tensor.group == layout.WEIGHTS]
    backward = [*backward_order(tensors), *(one for one in tensors if one.group == layout.INPUT_GRADIENTS)]
    stepwise = {full_name(one) for one in (*weights, *backward) if one.attributes.get("axis0") == STEP}
    names = (*map(full_name, weights), layout.LOSS, *map(full_name, backward))
    return [
        ExecutionPass(others, inputs),
        ExecutionPass(names, (), frozenset(stepwise | ({layout.LOSS} if loss_by_step else set())), backward=True),
    ]


def inputs_themselves(one: ExecutionPass, bad: BadTensors, check: str) -> list[Origin]:
    """Return the inputs that are bad: each is an origin of its own."""
    findings = [bad[check][name] for name in one.before if name in bad[check]]
    return [
        Origin(
            check,
            finding.tensor,
            finding.example,
            finding.index,
            f"{WORDS[check]} is in the input itself: {one.at(finding)}",
            certain=True,
            example_id=finding.example_id,
        )
        for finding in findings
    ]


def first_in_order(one: ExecutionPass, bad: BadTensors, check: str, looked_at: str) -> list[Origin]:
    """Return the first bad tensor of a pass; `looked_at` says whether everything or a part was searched."""
    first = one.first(bad[check], one.names)
    if first is None:
        return []
    message = _message(one, bad, first, looked_at)
    return [Origin(check, first.tensor, first.example, first.index, message, example_id=first.example_id)]


def _message(one: ExecutionPass, bad: BadTensors, first: Finding, looked_at: str) -> str:
    text = f"{WORDS[first.check]} first appears in {one.at(first)}"
    for other in dict.fromkeys([first.check, *WORDS]):
        source = one.first(bad[other], (*one.before, *one.names))
        if source is not None and one.moment(source) < one.moment(first):
            return f"{text}, after {WORDS[other]} in {one.at(source)}"
    if first.tensor == layout.LOSS and not one.stepwise:
        return f"{text}: the forward pass made it (tfdump activations shows where)"
    where = "nearer to the loss" if one.backward and not one.stepwise else "before it"
    return f"{text}; {looked_at} {where} is clean"
