"""The tensors with respect to which to differentiate: selected weights, activations and inputs of one run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import tensorflow as tf
from keras import Layer

from tfdump.address import OPERATION, Candidate, Selection, reserved_word
from tfdump.captures import Captures
from tfdump.dtypes import kind_of
from tfdump.dump import layout
from tfdump.errors import ModelError, SelectionError
from tfdump.model.gradients.weights import Weight, weights_of
from tfdump.model.recording.frames import RecordedTensor
from tfdump.model.recording.recorder import Recorder
from tfdump.model.tensor_info import candidate_of, declared_shape, record_info
from tfdump.tensors import NotCaptured, TensorInfo

WEIGHTS, ACTIVATIONS, INPUTS = "weights", "activations", "inputs"
GROUPS = {
    WEIGHTS: layout.WEIGHT_GRADIENTS,
    ACTIVATIONS: layout.ACTIVATION_GRADIENTS,
    INPUTS: layout.INPUT_GRADIENTS,
}
"""The groups of the file that hold the gradients of each kind."""

_STACKED = "put together of the steps of TimeDistributed, with which the model does not go on"
_INPUT_CLASSES = ("InputLayer",)


@dataclass(frozen=True)
class GradientRequest:
    """The tensors with respect to which to differentiate, and how to run the model.

    `every_weight` asks for the gradients of all trainable weights, whatever is selected, as a descent needs them.
    `loss_scale` multiplies the loss, and the gradients are divided by it, which avoids underflow in float16. `ops` adds
    the operations inside the layers to the activations.
    """

    selection: Selection
    wrt: tuple[str, ...] = (WEIGHTS,)
    training: bool = False
    seed: int = 0
    eager: bool = False
    loss_scale: float = 1.0
    every_weight: bool = False
    ops: bool = False


@dataclass(frozen=True)
class Target:
    """One tensor whose gradient is computed; `half` tells whether the gradient passes through float16.

    `selected` is False for a weight that only a descent needs. `weight` is the variable, None for other tensors.
    """

    group: str
    info: TensorInfo
    half: bool
    aliases: tuple[str, ...] = ()
    selected: bool = True
    weight: Any = None

    @property
    def key(self) -> tuple[str, str]:
        """What identifies the tensor in a run."""
        return self.group, self.info.address


@dataclass(frozen=True)
class Sources:
    """The selected targets with their tensors in one run, and those that cannot be differentiated."""

    targets: tuple[Target, ...]
    tensors: tuple[Any, ...]
    not_captured: tuple[NotCaptured, ...]


def choose_sources(model: Layer, recorder: Recorder, inputs: Mapping[str, Any], request: GradientRequest) -> Sources:
    """Select among the weights, the recorded activations and the inputs of one run.

    Patterns can also select inputs. If a selection names no input while other kinds are requested too, all inputs are
    kept. Raises SelectionError for a pattern that matches nothing and for a selection that cannot be differentiated,
    and ModelError for a model without such tensors.
    """
    weights = weights_of(model, recorder) if WEIGHTS in request.wrt or request.selection.selects_layers else []
    trainable = [weight for weight in weights if weight.obstacle is None]
    run = recorder.with_operations()
    records, not_recorded = run.tensors, run.not_captured
    candidates = [candidate_of(record) for record in records]
    candidates += [weight.candidate for weight in trainable]
    fed = list(inputs.items()) if INPUTS in request.wrt else []
    first_input = len(candidates)
    candidates += [Candidate(name, _INPUT_CLASSES) for name, _ in fed]
    missing = {item.address: item.reason for item in not_recorded}
    missing |= {weight.address: weight.obstacle for weight in weights if weight.obstacle is not None}
    selected = set(request.selection.choose(candidates, missing, Captures(ops=request.ops).advice))
    sources: list[tuple[Target, Any]] = []
    skipped: list[NotCaptured] = []
    if WEIGHTS in request.wrt:
        orders = {number - len(records) for number in selected if len(records) <= number < first_input}
        sources += _weight_sources(trainable, orders, request)
        frozen = _selected([weight for weight in weights if weight.obstacle is not None], request.selection)
        skipped += [NotCaptured(weight.address, weight.obstacle or "", weight.is_state) for weight in frozen]
    if ACTIVATIONS in request.wrt:
        skipped += not_recorded
        for order in sorted(number for number in selected if number < len(records)):
            _add(sources, skipped, _activation_target(records[order], order), records[order].tensor, records[order])
    if INPUTS in request.wrt:
        for order in _selected_inputs(candidates[first_input:], {n - first_input for n in selected}, request):
            name, tensor = fed[order]
            _add(sources, skipped, _input_target(name, tensor, order), tensor)
    if not sources:
        reasons = "; ".join(f"{item.address}: {item.reason}" for item in skipped[:3])
        raise ModelError(
            f"there is nothing to differentiate with respect to {' and '.join(request.wrt)} "
            f"({reasons or 'none selected'})"
        )
    targets, tensors = zip(*sources, strict=True)
    return Sources(targets, tensors, tuple(dict.fromkeys(skipped)))


def _weight_sources(
    trainable: Sequence[Weight], selected: set[int], request: GradientRequest
) -> list[tuple[Target, Any]]:
    """Return the targets and tensors of the selected weights, and of the others where all of them are requested."""
    if not trainable:
        raise ModelError(
            "the model has no trainable weights (use --wrt inputs or --wrt activations, or set "
            "layer.trainable = True before you save the model)"
        )
    if not selected and request.wrt == (WEIGHTS,):
        raise SelectionError(
            "the selection holds no trainable weights (for layers without weights use --wrt activations; "
            "list the layers: tfdump layers MODEL)"
        )
    return [
        (_weight_target(weight, order, order in selected), weight.tensor)
        for order, weight in enumerate(trainable)
        if order in selected or request.every_weight
    ]


def _selected_inputs(inputs: Sequence[Candidate], selected: set[int], request: GradientRequest) -> list[int]:
    """Return the positions of the inputs to differentiate with respect to."""
    orders = [order for order in range(len(inputs)) if order in selected]
    if not orders and len(request.wrt) > 1:
        orders = _not_excluded(inputs, request.selection)
    if inputs and not orders and request.wrt == (INPUTS,):
        raise SelectionError(
            f"the selection holds no input, but only inputs are requested (add -l {inputs[0].address})"
        )
    return orders


def _add(
    sources: list[tuple[Target, Any]],
    skipped: list[NotCaptured],
    target: Target,
    tensor: Any,
    record: RecordedTensor | None = None,
) -> None:
    """Add a target, or the reason why it has no gradient; `record` is that of an activation."""
    obstacle = _STACKED if record is not None and record.stacked else _no_gradient(tensor)
    if obstacle is None:
        sources.append((target, tensor))
    else:
        what = obstacle if record is not None else f"the input is {obstacle}"
        is_operation = reserved_word(target.info.address) == OPERATION  # a model computes many booleans and indices
        skipped.append(NotCaptured(target.info.address, what, expected=is_operation))


def has_gradient(tensor: Any) -> bool:
    """Tell whether a tensor can have a gradient."""
    return _no_gradient(tensor) is None


def _no_gradient(tensor: Any) -> str | None:
    """Return why a tensor can have no gradient, or None."""
    if kind_of(tensor.dtype.name) not in "fc":
        return f"{tensor.dtype.name}, which has no gradient"
    return "sparse, which has no gradient here" if isinstance(tensor, tf.SparseTensor) else None


def _selected(weights: Sequence[Weight], selection: Selection) -> list[Weight]:
    """Return the selected ones of weights that the selection may leave out."""
    return [weight for weight in weights if selection.wants(weight.candidate)]


def _not_excluded(inputs: Sequence[Candidate], selection: Selection) -> list[int]:
    """Return the positions of the inputs that are not excluded."""
    return [n for n, name in enumerate(inputs) if not any(pattern.selects(name) for pattern in selection.exclude)]


def _weight_target(weight: Weight, order: int, selected: bool) -> Target:
    return Target(GROUPS[WEIGHTS], weight.info(order), weight.half, weight.aliases, selected, weight.variable)


def _activation_target(record: RecordedTensor, order: int) -> Target:
    info = record_info(record, order)
    return Target(GROUPS[ACTIVATIONS], info, info.dtype == "float16")


def _input_target(name: str, tensor: Any, order: int) -> Target:
    info = TensorInfo(name, name, name, _INPUT_CLASSES, order, tensor.dtype.name, declared_shape(tensor))
    return Target(GROUPS[INPUTS], info, tensor.dtype == tf.float16)
