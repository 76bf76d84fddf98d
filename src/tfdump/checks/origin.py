"""Where NaN and Inf begin: the first tensor in the order of execution that has them."""

from collections.abc import Sequence
from dataclasses import dataclass

from tfdump.checks.records import Finding, Origin
from tfdump.dump import layout
from tfdump.dump.attributes import full_name, order_of
from tfdump.dump.axis0 import STEP
from tfdump.dump.backward_order import backward_order
from tfdump.dump.tensor import Tensor

_WORDS = {"nan": "NaN", "inf": "Inf"}
_FORWARD = (layout.INPUTS, layout.ACTIVATIONS, layout.OUTPUTS)


def forward_order(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Return the tensors of the forward pass in its order: inputs, activations, outputs."""
    forward = [tensor for tensor in tensors if tensor.group in _FORWARD]
    return sorted(forward, key=lambda tensor: (_FORWARD.index(tensor.group), order_of(tensor)))


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
        return f"'{name}'" + (f" (example {finding.example})" if finding.example is not None else "")


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


def origins(order: Sequence[ExecutionPass], findings: Sequence[Finding], looked_at: str) -> list[Origin]:
    """Return where NaN and Inf begin in every pass; `looked_at` says whether everything or a part was searched.

    A bad input is an origin of its own.
    """
    bad: dict[str, dict[str, Finding]] = {check: {} for check in _WORDS}
    for finding in findings:
        if finding.check in bad:
            bad[finding.check][finding.tensor] = finding
    starts: list[Origin] = []
    for check, word in _WORDS.items():
        for one in order:
            for name in [name for name in one.before if name in bad[check]]:
                finding = bad[check][name]
                starts.append(_origin(finding, f"{word} is in the input itself: {one.at(finding)}"))
            first = one.first(bad[check], one.names)
            if first is not None:
                starts.append(_origin(first, _message(one, bad, first, looked_at)))
    return starts


def _message(one: ExecutionPass, bad: dict[str, dict[str, Finding]], first: Finding, looked_at: str) -> str:
    text = f"{_WORDS[first.check]} first appears in {one.at(first)}"
    for other in dict.fromkeys([first.check, *_WORDS]):
        source = one.first(bad[other], (*one.before, *one.names))
        if source is not None and one.moment(source) < one.moment(first):
            return f"{text}, after {_WORDS[other]} in {one.at(source)}"
    if first.tensor == layout.LOSS and not one.stepwise:
        return f"{text}: the forward pass made it (tfdump activations shows where)"
    where = "nearer to the loss" if one.backward and not one.stepwise else "before it"
    return f"{text}; {looked_at} {where} is clean"


def _origin(finding: Finding, message: str) -> Origin:
    return Origin(finding.check, finding.tensor, finding.example, finding.index, message)
