"""The scalar that is differentiated: the compiled loss of a model, a loss of Keras by name, or an objective."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import keras
import tensorflow as tf
from keras import Layer

from tfdump.dtypes import kind_of
from tfdump.errors import ModelError, near
from tfdump.model.error_text import first_line
from tfdump.model.keras_internals import CompileLoss
from tfdump.model.losses.names import named_loss, split_loss
from tfdump.model.losses.target_checks import static_shape_text
from tfdump.model.losses.terms import LabeledOutput, Term, loss_term, objective_term
from tfdump.model.outputs import Outputs

HOW = (
    "choose one: --loss NAME with targets (for example --loss mse), or --objective sum, mean, max or 'OUTPUT[INDEX]'"
    " without targets"
)
_OBJECTIVES = ("sum", "mean", "max")
_INDEXED = re.compile(r"(?P<output>[^\[\]]+)(\[(?P<index>-?\d+(,-?\d+)*)\])?")


@dataclass(frozen=True)
class LossChoice:
    """The loss that the user asked for.

    `names` are losses by name (`NAME`, `OUTPUT=NAME` or `compiled`), empty for the default, and `objective` is an
    objective in their place. `from_logits` tells whether the outputs are logits. `reduction` is `mean` or `sum`, None
    for the default.
    """

    names: tuple[str, ...] = ()
    objective: str | None = None
    from_logits: bool = False
    reduction: str | None = None


@dataclass(frozen=True)
class BatchTargets:
    """The targets and sample weights of a batch by the name of the output.

    `labels` are what errors call the targets, and `rows` is the number of rows that count, None for all.
    """

    targets: Mapping[str, Any]
    weights: Mapping[str, Any]
    labels: Mapping[str, str]
    rows: Any = None


class Scalar(Protocol):
    """A scalar to differentiate; `description` names it.

    `regularized` tells whether it includes the model's own losses, and `without_targets` says why it needs no targets,
    if it needs none.
    """

    description: str
    regularized: bool
    needs_targets: bool
    without_targets: str
    reduction: str

    def outputs_with_targets(self, outputs: Outputs) -> list[str]:
        """Return the names of the outputs that need targets."""

    def prepare(self, outputs: Outputs, targets: Mapping[str, tuple[int, ...]]) -> None:
        """Determine the losses from the shapes of the targets; called once before `terms`."""

    def terms(self, outputs: Outputs, batch: BatchTargets) -> list[Term]:
        """Evaluate every term on one batch."""


class Objective:
    """`sum`, `mean` or `max` of an example over the elements of every output, or `OUTPUT[INDEX]`; their sum."""

    regularized = False
    needs_targets = False
    without_targets = "an objective needs no targets"

    def __init__(self, text: str, reduction: str | None) -> None:
        self.description = text
        self.reduction = reduction or "sum"
        match = _INDEXED.fullmatch(text)
        if match is None:
            raise ModelError(f"--objective '{text}' is not sum, mean, max or OUTPUT[INDEX] (for example 'logits[3]')")
        self._output = match["output"]
        self._index = tuple(int(part) for part in match["index"].split(",")) if match["index"] else None

    def outputs_with_targets(self, outputs: Outputs) -> list[str]:
        """Return nothing: an objective needs no targets."""
        return []

    def prepare(self, outputs: Outputs, targets: Mapping[str, tuple[int, ...]]) -> None:
        """Do nothing: an objective does not depend on targets."""

    def terms(self, outputs: Outputs, batch: BatchTargets) -> list[Term]:
        """Return a term for each output that the objective includes."""
        operation = self._output if self._index is None and self._output in _OBJECTIVES else None
        wanted = outputs.canonical(self._output)
        if operation is None and wanted not in outputs.names:
            raise ModelError(
                f"--objective '{self.description}': the model has no output '{self._output}'"
                f"{near(self._output, outputs.names)} (its outputs: {_listed(outputs.names)})"
            )
        floats = [(name, tensor) for name, tensor in outputs.named if kind_of(tensor.dtype.name) == "f"]
        tensors = [(name, tensor) for name, tensor in floats if operation or name == wanted]
        if not tensors:
            raise ModelError(f"--objective '{self.description}': no output of the model has a floating-point dtype")
        return [
            objective_term(self.description, name, self._elements(name, tensor, operation), batch.rows, self.reduction)
            for name, tensor in tensors
        ]

    def _elements(self, name: str, tensor: Any, operation: str | None) -> Any:
        """Return one number per example."""
        wide = tensor if tensor.dtype in (tf.float32, tf.float64) else tf.cast(tensor, tf.float32)
        if self._index is not None:
            sizes = tensor.shape[1:]
            if len(self._index) > len(sizes) or any(
                size is not None and not -size <= index < size for index, size in zip(self._index, sizes, strict=False)
            ):
                raise ModelError(
                    f"--objective '{self.description}': '{name}' has shape {static_shape_text(sizes)} per example"
                )
            wide = wide[(slice(None), *self._index)]
        axes = list(range(1, wide.shape.rank))
        reduce = {"mean": tf.reduce_mean, "max": tf.reduce_max}.get(operation or "sum", tf.reduce_sum)
        return reduce(wide, axis=axes) if axes else wide


class NamedLosses:
    """Losses of Keras by name: one for every output, or separate ones for some outputs (`OUTPUT=NAME`)."""

    regularized = False
    needs_targets = True
    without_targets = ""

    def __init__(self, choice: LossChoice, custom: Mapping[str, Any]) -> None:
        self.reduction = choice.reduction or "mean"
        self._by_output: dict[str | None, keras.losses.Loss] = {}
        for text in choice.names:
            key, name = split_loss(text, custom)
            if key in self._by_output:
                raise ModelError(f"--loss {text}: that output already has a loss")
            self._by_output[key] = named_loss(name, choice.from_logits, custom)
        if None in self._by_output and len(self._by_output) > 1:
            raise ModelError("--loss NAME covers all outputs (give either that, or --loss OUTPUT=NAME for some)")
        logits = " (from logits)" if choice.from_logits else ""
        self.description = ", ".join(choice.names) + logits

    def outputs_with_targets(self, outputs: Outputs) -> list[str]:
        """Return the names of the outputs that have a loss."""
        if None in self._by_output:
            return outputs.names
        self._by_output = {outputs.canonical(str(name)): loss for name, loss in self._by_output.items()}
        for name in self._by_output:
            if name not in outputs.names:
                known = _listed(outputs.names)
                raise ModelError(
                    f"--loss {name}=...: the model has no output '{name}'{near(str(name), outputs.names)} "
                    f"(its outputs: {known})"
                )
        return [name for name in outputs.names if name in self._by_output]

    def prepare(self, outputs: Outputs, targets: Mapping[str, tuple[int, ...]]) -> None:
        """Do nothing: the losses do not depend on targets."""

    def terms(self, outputs: Outputs, batch: BatchTargets) -> list[Term]:
        """Return a term for each output that has a loss."""
        return [
            _term(self._by_output.get(name) or self._by_output[None], name, None, outputs, batch, self.reduction)
            for name in self.outputs_with_targets(outputs)
        ]


class CompiledLosses:
    """The loss that a model was compiled with, its loss weights, and the model's own losses."""

    regularized = True
    without_targets = "the model was saved without a loss of its outputs, so nothing uses targets; try --loss NAME"

    def __init__(self, model: Layer, loss: Any, loss_weights: Any, reduction: str | None) -> None:
        self.reduction = reduction or "mean"
        self.description = f"compiled: {_spelled(loss)}" if loss is not None else "compiled: losses of the layers"
        self.needs_targets = loss is not None
        self._losses: list[tuple[str, keras.losses.Loss, float | None]] = []
        self._loss = loss
        self._weights = loss_weights
        self._output_names = getattr(model, "output_names", None)

    def outputs_with_targets(self, outputs: Outputs) -> list[str]:
        """Return the names of the outputs that have a loss."""
        names = [name for name, *_ in self._resolved(outputs, {})]
        return [name for name in outputs.names if name in names]

    def prepare(self, outputs: Outputs, targets: Mapping[str, tuple[int, ...]]) -> None:
        """Let Keras resolve the names of losses: `crossentropy` depends on the shapes of the targets."""
        self._losses = self._resolved(outputs, targets)

    def _resolved(
        self, outputs: Outputs, targets: Mapping[str, tuple[int, ...]]
    ) -> list[tuple[str, keras.losses.Loss, float | None]]:
        """Return the output, the loss and the weight of every term. Not for graphs: Keras creates metrics."""
        if self._loss is None:
            return []
        names = dict(zip(outputs.paths, outputs.names, strict=True))
        leaves = []
        for path, leaf in keras.tree.flatten_with_path(outputs.structure):
            shape = targets.get(names.get(tuple(path), ""))
            leaves.append(leaf if shape is None else keras.KerasTensor((None, *shape[1:])))
        compiled = CompileLoss(self._loss, self._weights, output_names=self._output_names)
        try:
            compiled.build(keras.tree.pack_sequence_as(outputs.structure, leaves), outputs.structure)
        except Exception as cause:  # Keras raises several classes of error for a loss that does not fit the outputs
            why = first_line(cause)
            if isinstance(self._loss, Mapping) and self._output_names is None:
                why = "it is a dict by outputs, but a Sequential or subclassed model has no names of outputs"
            raise ModelError(
                f"the compiled loss does not fit the model: {why} (compile it with one loss, or a list for several "
                "outputs; or choose one here: --loss NAME)"
            ) from cause
        flat = list(compiled._flat_losses or [])
        flat = flat if keras.tree.is_nested(outputs.structure) else flat[:1]  # as Keras does for one output
        return [(self._output_of(outputs, path), loss, weight) for path, loss, weight, _ in flat]

    def _output_of(self, outputs: Outputs, path: Sequence[str | int]) -> str:
        """Return the name of the output at a path of Keras, which may be the name of the output's layer."""
        if tuple(path) in outputs.paths:
            return outputs.named[outputs.paths.index(tuple(path))][0]
        if len(path) == 1 and self._output_names and path[0] in self._output_names:
            return outputs.named[list(self._output_names).index(str(path[0]))][0]
        raise ModelError(f"the compiled loss names an output {path} that the model does not have")

    def terms(self, outputs: Outputs, batch: BatchTargets) -> list[Term]:
        """Return a term for each loss."""
        return [_term(loss, name, weight, outputs, batch, self.reduction) for name, loss, weight in self._losses]


def _term(loss: Any, name: str, weight: float | None, outputs: Outputs, batch: BatchTargets, reduction: str) -> Term:
    """Evaluate a loss on the output of this name."""
    output = LabeledOutput(
        name,
        dict(outputs.named)[name],
        batch.targets[name],
        batch.weights.get(name),
        batch.labels[name],
        batch.rows,
    )
    return loss_term(loss, output, 1.0 if weight is None else float(weight), reduction)


def _spelled(loss: Any) -> str:
    """Return the losses of a compile configuration as text that is the same in every run."""
    if isinstance(loss, dict):
        return ", ".join(f"{name}={_spelled(item)}" for name, item in loss.items() if item is not None)
    if isinstance(loss, (list, tuple)):
        return ", ".join(_spelled(item) for item in loss)
    return str(loss if isinstance(loss, str) else getattr(loss, "name", None) or getattr(loss, "__name__", loss))


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)
