"""The words for where NaN and Inf begin."""

import math
from collections.abc import Collection, Sequence

from tfdump.address import OPERATION, reserved_word, split
from tfdump.checks.origin_records import OriginInput
from tfdump.checks.origin_values import is_pointwise, mixes_elements
from tfdump.checks.records import Finding
from tfdump.dump import axis0, layout
from tfdump.dump.attributes import full_name
from tfdump.dump.examples import example_text
from tfdump.dump.tensor import Tensor

WORDS = {"nan": "NaN", "inf": "Inf"}
_MOST_INPUTS = 4
_EVERYWHERE = {axis0.EXAMPLE: " in that example", axis0.BATCH: " in that batch"}
_GRADIENT = {
    layout.ACTIVATION_GRADIENTS: "the gradient of",
    layout.INPUT_GRADIENTS: "the gradient of the input",
    layout.WEIGHT_GRADIENTS: "the gradient of the weight",
}
NOT_HELD = "not in the dump"
NOT_CHECKED = "not checked"


def operation_of(tensor: Tensor) -> str:
    """Return the type of the operation that computed a tensor, or else the class of its layer."""
    return str(tensor.attributes.get("operation") or tensor.attributes.get("class", ""))


def source_of(tensor: Tensor) -> str | None:
    """Return the line of code that made the operation, if the dump tells it."""
    return tensor.attributes.get("source") or None


def labeled(tensor: Tensor) -> str:
    """Return a tensor as messages name it: `'norm' (Log, my_layers.py:42)`.

    What the address says already is not repeated. An output of the model has the class of the whole model.
    """
    if tensor.group == layout.OUTPUTS:
        return f"'{full_name(tensor)}'"
    word, operation = reserved_word(tensor.address), operation_of(tensor)
    name = split(tensor.address)[1].partition(".")[2]
    implied = operation.lower() in name.lower() if word == OPERATION else bool(word)
    if implied or tensor.group in (layout.WEIGHT_GRADIENTS, layout.INPUT_GRADIENTS):
        operation = ""
    label = ", ".join(filter(None, [operation, source_of(tensor)]))
    return f"'{tensor.address}'" + (f" ({label})" if label else "")


def subject(tensor: Tensor, finding: Finding) -> str:
    """Return a tensor with the place where it is first bad: `'norm' (Log), example 17 (cat.jpg)`."""
    words = " ".join(filter(None, [_GRADIENT.get(tensor.group), labeled(tensor)]))
    if finding.example is not None:
        return f"{words}, {example_text(finding.example, finding.example_id)}"
    index = finding.index
    if not index:
        return words
    if tensor.attributes.get("axis0") == axis0.BATCH:
        return f"{words}, batch {index[0]}"
    return f"{words} at [{', '.join(map(str, index))}]"


def after_said(word: str, causes: Sequence[Tensor]) -> str:
    """Return where the other kind begins from which an origin comes: `, after Inf in 'log'`."""
    names = []
    for tensor in causes:
        gradient = _GRADIENT.get(tensor.group)
        names.append(f"{gradient} '{tensor.address}'" if gradient else f"'{_short(full_name(tensor))}'")
    return f", after {word} in {_joined(_cut(names))}" if names else ""


def inputs_said(inputs: Sequence[OriginInput], operation: str, infinite: Collection[str]) -> str:
    """Return what the inputs of an origin hold: `its input 'x' is -0.0034 there`.

    `infinite` are the names of tensors that hold Inf.
    """
    if not inputs:
        return "it reads no other tensor"
    held = [_held(one, operation, infinite) for one in inputs[:_MOST_INPUTS]]
    groups: list[tuple[list[str], str]] = []
    for text, where in held:
        if groups and groups[-1][1] == where:
            groups[-1][0].append(text)
        else:
            groups.append(([text], where))
    texts = [_joined(texts) + where for texts, where in groups]
    if len(inputs) > _MOST_INPUTS:
        texts.append(f"{len(inputs) - _MOST_INPUTS} more (--json lists them)")
    return f"its input{'s'[: len(inputs) != 1]} {_joined(texts)}"


def missing_said(inputs: Sequence[OriginInput]) -> str:
    """Return which inputs of an origin are not known, and why: `its input 'x' is not in the dump`."""
    reasons: dict[str, list[str]] = {}
    for one in inputs:
        reasons.setdefault(str(one.reason), []).append(f"'{_short(one.tensor)}'")
    return " and ".join(
        f"its input{'s'[: len(names) != 1]} {_joined(_cut(names))} {_verb(reason, len(names))} {reason}"
        for reason, names in reasons.items()
    )


def alternatives(inputs: Sequence[OriginInput]) -> str:
    """Return the inputs of the model in which NaN or Inf may be, because they are not known."""
    names = " or ".join(f"'{one.tensor}'" for one in inputs)
    if inputs[0].reason == NOT_CHECKED:
        return f", or in {names}, which {_verb(NOT_CHECKED, len(inputs))} {NOT_CHECKED}"
    return f", or in {names}, which the dump does not hold (--save-inputs stores it)"


def readers_said(readers: Sequence[tuple[Tensor, bool]]) -> str:
    """Return through what a gradient passes backward; each reader comes with whether its gradient holds Inf."""
    names = _cut([labeled(reader) for reader, _ in readers])
    holds = [labeled(reader) for reader, holds_inf in readers if holds_inf]
    one = len(readers) == 1
    if holds:
        state = "whose gradient holds Inf" if one else f"and the gradient of {_joined(holds)} holds Inf"
        return f"{_joined(names)}, {state}"
    return f"{_joined(names)}, whose gradient{' is' if one else 's are'} clean"


def layer_outputs_said(outputs: Sequence[Tensor]) -> str:
    """Return that the gradients of the outputs of a weight's layer are clean."""
    names = _joined([labeled(output) for output in outputs])
    if len(outputs) == 1:
        return f"the gradient of its layer's output {names} is clean"
    return f"the gradients of its layer's outputs {names} are clean"


def number_said(value: float) -> str:
    """Return a number in few digits, but never as a whole number that it is not."""
    if not math.isfinite(value):
        return f"{value}"
    if value.is_integer() and abs(value) < 1e9:
        return "-0" if value == 0 and math.copysign(1, value) < 0 else str(int(value))
    for digits in (6, 9):
        text = f"{value:.{digits}g}"
        if not float(text).is_integer() or value.is_integer():
            return text
    return repr(value)


def _held(one: OriginInput, operation: str, infinite: Collection[str]) -> tuple[str, str]:
    """Return what one input holds, and where: at the same element, in that example, or anywhere."""
    name = f"'{_short(one.tensor)}'"
    if one.value is not None and (is_pointwise(operation) or one.count == 1):
        return f"{name} is {number_said(one.value)}", " there"
    if one.region is None:
        return f"{name} {'holds Inf' if one.tensor in infinite else 'is clean'}", ""
    where = _EVERYWHERE.get(one.region, "")
    text = _range(one, counts_zeros=not mixes_elements(operation))
    if one.value is not None and not _is_everywhere_same(one):
        return f"{name} is {number_said(one.value)} there and {text}", where
    return f"{name} {text}", where


def _range(one: OriginInput, counts_zeros: bool) -> str:
    if not one.count:
        return "is empty"
    if one.minimum is None or one.maximum is None:
        return "holds only Inf" if one.infinities else "holds only NaN"
    if _is_everywhere_same(one):
        return f"is {number_said(one.minimum)}{' everywhere' if one.count > 1 else ''}"
    text = f"lies between {number_said(one.minimum)} and {number_said(one.maximum)}"
    counts = [(one.infinities, "Inf"), (one.not_numbers, "NaN"), (one.zeros if counts_zeros else 0, "0")]
    listed = [
        f"{count} of {one.count} values {'is' if count == 1 else 'are'} {what}" for count, what in counts if count
    ]
    return text + (f" ({', '.join(listed)})" if listed else "")


def _is_everywhere_same(one: OriginInput) -> bool:
    return one.minimum is not None and one.minimum == one.maximum and not one.infinities and not one.not_numbers


def _cut(names: Sequence[str]) -> list[str]:
    more = len(names) - _MOST_INPUTS
    return [*names[:_MOST_INPUTS], *([f"{more} more"] if more > 0 else [])]


def _verb(reason: str, count: int) -> str:
    if reason == NOT_CHECKED:
        return "was" if count == 1 else "were"
    return "is" if count == 1 else "are"


def _joined(texts: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(texts[:-1]), texts[-1]]))


def _short(name: str) -> str:
    return name.removeprefix(f"{layout.ACTIVATIONS}/")
