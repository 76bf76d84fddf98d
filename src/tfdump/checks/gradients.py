"""Gradients that vanish or explode, tensor by tensor and along the depth, and weights without a gradient."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tfdump.checks.records import Finding, Thresholds
from tfdump.dump import layout
from tfdump.dump.tensor import Tensor

_LONG_ENOUGH = 3
"""The smallest number of tensors whose norms are compared along the depth."""


@dataclass(frozen=True)
class StepNorms:
    """The L2 norm of one gradient at every step, in a chain of gradients that are compared with each other."""

    group: str
    address: str
    norms: tuple[float, ...]

    @property
    def name(self) -> str:
        """The group and the address."""
        return f"{self.group}/{self.address}"

    @property
    def chain(self) -> str:
        """The chain: kernels with kernels, biases with biases, and inputs together with activations."""
        if self.group == layout.WEIGHT_GRADIENTS:
            return f"{self.group}/*.{self.address.rpartition('.')[2].partition('~')[0]}"
        return f"{layout.ACTIVATION_GRADIENTS}/*"


def unconnected(tensor: Tensor, name: str) -> Finding | None:
    """Find weights that the loss does not depend on."""
    if tensor.connected or tensor.group != layout.WEIGHT_GRADIENTS:
        return None
    return Finding("unconnected", name, 1, 1, None, None, None, "the loss does not depend on this weight")


def norms_findings(gradients: Sequence[StepNorms], limits: Thresholds) -> list[Finding]:
    """Find gradients that vanish or explode, from norms in the order of the forward pass."""
    chains: dict[str, list[StepNorms]] = {}
    for gradient in sorted(gradients, key=lambda one: one.group != layout.INPUT_GRADIENTS):  # inputs come first
        chains.setdefault(gradient.chain, []).append(gradient)
    return [
        finding
        for name, chain in chains.items()
        for find in (vanishing, exploding)
        for finding in find(name, chain, limits)
    ]


def vanishing(name: str, chain: Sequence[StepNorms], limits: Thresholds) -> list[Finding]:
    """Find norms that are tiny, or small compared with the largest norm nearer to the loss."""
    findings = []
    for number, gradient in enumerate(chain):
        tiny: list[tuple[int, str]] = []
        for step, norm in enumerate(gradient.norms):
            largest = max((n for n in _at(chain[number + 1 :], step) if math.isfinite(n)), default=0.0)
            if norm == 0:
                tiny.append((step, "the gradient is zero"))
            elif norm < limits.vanish_norm:
                tiny.append((step, f"the norm {norm:.3g} is below {limits.vanish_norm:g}"))
            elif norm < limits.vanish_ratio * largest:
                tiny.append(
                    (step, f"the norm {norm:.3g} is {norm / largest:.2g} of the largest norm nearer to the loss")
                )
        findings += _finding("vanishing", gradient, tiny)
    return findings + _along_depth("vanishing", name, chain, len(findings), limits.vanish_ratio)


def exploding(name: str, chain: Sequence[StepNorms], limits: Thresholds) -> list[Finding]:
    """Find norms that are huge, or large compared with the norm nearest to the loss."""
    findings = []
    for number, gradient in enumerate(chain):
        huge: list[tuple[int, str]] = []
        for step, norm in enumerate(gradient.norms):
            later = [n for n in _at(chain[number + 1 :], step) if math.isfinite(n) and n > 0]
            if not math.isfinite(norm):
                continue
            if norm > limits.explode_norm:
                huge.append((step, f"the norm {norm:.3g} is above {limits.explode_norm:g}"))
            elif later and norm > limits.explode_ratio * later[-1]:
                huge.append((step, f"the norm {norm:.3g} is {norm / later[-1]:.2g} times the norm nearest to the loss"))
        findings += _finding("exploding", gradient, huge)
    return findings + _along_depth("exploding", name, chain, len(findings), limits.explode_ratio)


def _at(chain: Sequence[StepNorms], step: int) -> list[float]:
    return [gradient.norms[step] for gradient in chain if step < len(gradient.norms)]


def _finding(check: str, gradient: StepNorms, steps_concerned: list[tuple[int, str]]) -> list[Finding]:
    if not steps_concerned:
        return []
    step, message = steps_concerned[0]
    steps = len(gradient.norms)
    index = (step,) if steps > 1 else None
    if index:
        message += f" (at step {step}{f', the first of {len(steps_concerned)}' if len(steps_concerned) > 1 else ''})"
    return [Finding(check, gradient.name, len(steps_concerned), steps, None, index, gradient.norms[step], message)]


def _along_depth(check: str, name: str, chain: Sequence[StepNorms], concerned: int, ratio: float) -> list[Finding]:
    """Describe how the norm changes from the gradient nearest to the loss to the first one, at the last step.

    Empty if no tensor was found, or if the change between the ends is below the ratio.
    """
    ends = [(gradient, gradient.norms[-1]) for gradient in chain if gradient.norms and gradient.norms[-1] > 0]
    ends = [(gradient, norm) for gradient, norm in ends if math.isfinite(norm)]
    if not concerned or len(ends) < _LONG_ENOUGH:
        return []
    (first, small), (last, large) = ends[0], ends[-1]
    factor = (small / large) ** (1 / (len(ends) - 1))
    if (small >= ratio * large) if check == "vanishing" else (small <= ratio * large):
        return []
    how = f"shrinks {1 / factor:.3g} times" if check == "vanishing" else f"grows {factor:.3g} times"
    message = (
        f"on the way back the norm {how} a tensor: from {large:.3g} in '{last.address}' "
        f"to {small:.3g} in '{first.address}', {len(ends) - 1} tensors before it"
    )
    return [Finding(check, name, concerned, len(chain), None, None, factor, message)]
