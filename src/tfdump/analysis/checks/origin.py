"""Where NaN and Inf begin: the first tensor in the order of execution that has them."""

from collections.abc import Sequence
from typing import Any

from tfdump.analysis.checks.records import Finding, Origin
from tfdump.dump import layout
from tfdump.dump.tensor import Tensor

_WORDS = {"nan": "NaN", "inf": "Inf"}
_FORWARD = (layout.INPUTS, layout.WEIGHTS, layout.ACTIVATIONS, layout.OUTPUTS)


def full_name(tensor: Tensor) -> str:
    """Return the group and the address of a tensor, as tables show it."""
    return f"{tensor.group}/{tensor.address}"


def forward_order(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Return what the forward pass computes, in its order: inputs, activations, outputs."""
    found = [tensor for tensor in tensors if tensor.group in _FORWARD]
    return sorted(found, key=lambda tensor: (_FORWARD.index(tensor.group), _order(tensor)))


def backward_order(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Return the gradients in the order in which they are computed, from the loss back to the inputs.

    The gradients of a layer's weights come after that of its output, where that is in the dump.
    """
    activations = [tensor for tensor in tensors if tensor.group == layout.ACTIVATION_GRADIENTS]
    weights = [tensor for tensor in tensors if tensor.group == layout.WEIGHT_GRADIENTS]
    inputs = [tensor for tensor in tensors if tensor.group == layout.INPUT_GRADIENTS]
    places = {str(tensor.attributes.get("layer", tensor.address)): _order(tensor) for tensor in activations}
    place = -1
    keys: list[tuple[tuple[int, int, int], Tensor]] = [((-_order(one), 0, 0), one) for one in activations]
    for weight in sorted(weights, key=_order):
        place = places.get(str(weight.attributes.get("layer")), place)
        keys.append(((-place, 1, -_order(weight)), weight))
    return [tensor for _, tensor in sorted(keys, key=lambda pair: pair[0])] + inputs


def origins(forward: Sequence[str], backward: Sequence[str], findings: Sequence[Finding], whole: bool) -> list[Origin]:
    """Return where NaN and Inf begin in both passes; `whole` is False for a selection of the tensors.

    `forward` and `backward` are names in the order of execution. A bad input is an origin of its own.
    """
    bad: dict[str, dict[str, Finding]] = {check: {} for check in _WORDS}
    for finding in findings:
        if finding.check in bad:
            bad[finding.check][finding.tensor] = finding
    found: list[Origin] = []
    inputs = [name for name in forward if name.startswith(f"{layout.INPUTS}/")]
    others = [name for name in forward if name not in inputs]
    for check, word in _WORDS.items():
        for name in [name for name in inputs if name in bad[check]]:
            found.append(_origin(bad[check][name], f"{word} is in the input itself: {_at(bad[check][name])}"))
        for chain, before in ((others, inputs), (list(backward), [])):
            first = next((name for name in chain if name in bad[check]), None)
            if first is not None:
                message = _message(bad, check, [*before, *chain], first, whole, chain is not others)
                found.append(_origin(bad[check][first], message))
    return found


def _message(
    bad: dict[str, dict[str, Finding]], check: str, chain: Sequence[str], first: str, whole: bool, backward: bool
) -> str:
    text = f"{_WORDS[check]} first appears in {_at(bad[check][first])}"
    if backward and first == layout.LOSS:
        return f"{text}: the forward pass made it (tfdump activations shows where)"
    earlier = chain[: chain.index(first)]
    for other in dict.fromkeys([check, *_WORDS]):
        source = next((name for name in earlier if name in bad[other]), None)
        if source is not None:
            return f"{text}, after {_WORDS[other]} in {_at(bad[other][source])}"
    which = "everything" if whole else "everything selected"
    return f"{text}; {which} {'nearer to the loss' if backward else 'before it'} is clean"


def _at(finding: Finding) -> str:
    name = finding.tensor.removeprefix(f"{layout.ACTIVATIONS}/")
    return f"'{name}'" + (f" (example {finding.example})" if finding.example is not None else "")


def _origin(finding: Finding, message: str) -> Origin:
    return Origin(finding.check, finding.tensor, finding.example, finding.index, message)


def _order(tensor: Tensor) -> int:
    order: Any = tensor.attributes.get("order", 0)
    return int(order)
