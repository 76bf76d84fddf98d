"""With respect to what: the weights, activations and inputs of one run that gradients are asked for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import tensorflow as tf
from keras import Layer

from tfdump.address import Candidate, Selection
from tfdump.dtypes import kind_of
from tfdump.dump import layout
from tfdump.errors import ModelError, SelectionError
from tfdump.model.gradients.weights import Weight, weights_of
from tfdump.model.recording.recorder import Recorder
from tfdump.model.tensor_info import declared_shape, record_info
from tfdump.tensors import NotCaptured, TensorInfo

WEIGHTS, ACTIVATIONS, INPUTS = "weights", "activations", "inputs"
GROUPS = {
    WEIGHTS: layout.WEIGHT_GRADIENTS,
    ACTIVATIONS: layout.ACTIVATION_GRADIENTS,
    INPUTS: layout.INPUT_GRADIENTS,
}
"""Where in the file the gradients with respect to each kind are."""

_STACKED = "put together of the steps of TimeDistributed, with which the model does not go on"
_INPUT_CLASSES = ("InputLayer",)


@dataclass(frozen=True)
class GradientRequest:
    """What to differentiate with respect to, and how to run the model.

    `every_weight` computes the gradients of all trainable weights whatever is selected, for a descent; `loss_scale`
    multiplies the loss and is divided out again, against underflow in float16.
    """

    selection: Selection
    wrt: tuple[str, ...] = (WEIGHTS,)
    training: bool = False
    seed: int = 0
    eager: bool = False
    loss_scale: float = 1.0
    every_weight: bool = False


@dataclass(frozen=True)
class Target:
    """One tensor whose gradient is given: `half` tells that it passes through float16.

    `selected` is False for a weight that only a descent needs; `weight` is the variable, where it is one.
    """

    group: str
    info: TensorInfo
    half: bool
    aliases: tuple[str, ...] = ()
    selected: bool = True
    weight: Any = None

    @property
    def key(self) -> tuple[str, str]:
        """What identifies it in a run."""
        return self.group, self.info.address


@dataclass(frozen=True)
class Sources:
    """The chosen targets with their tensors in one run, and what cannot be differentiated."""

    targets: tuple[Target, ...]
    tensors: tuple[Any, ...]
    not_captured: tuple[NotCaptured, ...]


def choose_sources(model: Layer, recorder: Recorder, inputs: Mapping[str, Any], request: GradientRequest) -> Sources:
    """Choose among the weights, the recorded activations and the inputs of one run.

    The inputs are there to be selected too; beside other kinds, a selection that names no input leaves all of them.
    Raises SelectionError for a pattern that matches nothing, or a selection without anything to differentiate, and
    ModelError for a model that has nothing of the kind.
    """
    weights = weights_of(model, recorder) if WEIGHTS in request.wrt or request.selection.selects_layers else []
    trainable = [weight for weight in weights if weight.obstacle is None]
    records = recorder.records
    candidates = [Candidate(record.address, record.classes) for record in records]
    candidates += [_candidate(weight) for weight in trainable]
    fed = list(inputs.items()) if INPUTS in request.wrt else []
    first_input = len(candidates)
    candidates += [Candidate(name, _INPUT_CLASSES) for name, _ in fed]
    missing = {item.address: item.reason for item in recorder.not_captured()}
    missing |= {weight.address: weight.obstacle for weight in weights if weight.obstacle is not None}
    selected = set(request.selection.choose(candidates, missing))
    sources: list[tuple[Target, Any]] = []
    skipped: list[NotCaptured] = []
    if WEIGHTS in request.wrt:
        if not trainable:
            raise ModelError(
                "the model has no trainable weights (--wrt inputs and --wrt activations need none; set "
                "layer.trainable = True before saving, to differentiate them)"
            )
        mine = {number - len(records) for number in selected if len(records) <= number < first_input}
        if not mine and request.wrt == (WEIGHTS,):
            raise SelectionError(
                "the selection holds no trainable weights (layers without weights? --wrt activations; "
                "list the layers: tfdump layers MODEL)"
            )
        sources += [
            (_weight_target(weight, order, order in mine), weight.tensor)
            for order, weight in enumerate(trainable)
            if order in mine or request.every_weight
        ]
        frozen = [weight for weight in weights if weight.obstacle is not None]
        named = _selected(frozen, request.selection)
        skipped += [NotCaptured(weight.address, weight.obstacle or "", weight.is_state) for weight in named]
    if ACTIVATIONS in request.wrt:
        skipped += recorder.not_captured()
        for order in sorted(number for number in selected if number < len(records)):
            obstacle = _STACKED if records[order].stacked else _no_gradient(records[order].tensor)
            if obstacle:
                skipped.append(NotCaptured(records[order].address, obstacle))
                continue
            info = record_info(records[order], order)
            sources.append((Target(GROUPS[ACTIVATIONS], info, info.dtype == "float16"), records[order].tensor))
    if INPUTS in request.wrt:
        picked = [order for order in range(len(fed)) if first_input + order in selected]
        if not picked and len(request.wrt) > 1:
            picked = _not_excluded(candidates[first_input:], request.selection)
        if fed and not picked and request.wrt == (INPUTS,):
            raise SelectionError(f"the selection holds no input, and only inputs are asked for (add -l {fed[0][0]})")
        for order in picked:
            name, tensor = fed[order]
            obstacle = _no_gradient(tensor)
            if obstacle:
                skipped.append(NotCaptured(name, f"the input is {obstacle}"))
                continue
            sources.append((_input_target(name, tensor, order), tensor))
    if not sources:
        reasons = "; ".join(f"{item.address}: {item.reason}" for item in skipped[:3])
        raise ModelError(
            f"nothing to differentiate with respect to {' and '.join(request.wrt)} ({reasons or 'none selected'})"
        )
    targets, tensors = zip(*sources, strict=True)
    return Sources(targets, tensors, tuple(dict.fromkeys(skipped)))


def has_gradient(tensor: Any) -> bool:
    """Tell whether a tensor can have a gradient."""
    return _no_gradient(tensor) is None


def _no_gradient(tensor: Any) -> str | None:
    """Return why a tensor can have no gradient, or None."""
    if kind_of(tensor.dtype.name) not in "fc":
        return f"{tensor.dtype.name}, which has no gradient"
    return "sparse, which has no gradient here" if isinstance(tensor, tf.SparseTensor) else None


def _candidate(weight: Weight) -> Candidate:
    aliases = tuple(Candidate(alias, weight.classes) for alias in weight.aliases)
    return Candidate(weight.address, weight.classes, (*weight.around, *aliases), weight.layer or weight.address)


def _selected(weights: Sequence[Weight], selection: Selection) -> list[Weight]:
    """Return those that the selection asks for, of weights that need not be there."""
    candidates = [_candidate(weight) for weight in weights]
    return [weight for weight, candidate in zip(weights, candidates, strict=True) if selection.wants(candidate)]


def _not_excluded(inputs: Sequence[Candidate], selection: Selection) -> list[int]:
    """Return the positions of the inputs that are not excluded."""
    return [n for n, name in enumerate(inputs) if not any(pattern.selects(name) for pattern in selection.exclude)]


def _weight_target(weight: Weight, order: int, selected: bool) -> Target:
    info = TensorInfo(weight.address, weight.layer, weight.structure, weight.classes, order, weight.dtype, weight.shape)
    return Target(GROUPS[WEIGHTS], info, weight.half, weight.aliases, selected, weight.variable)


def _input_target(name: str, tensor: Any, order: int) -> Target:
    info = TensorInfo(name, name, name, _INPUT_CLASSES, order, tensor.dtype.name, declared_shape(tensor))
    return Target(GROUPS[INPUTS], info, tensor.dtype == tf.float16)
