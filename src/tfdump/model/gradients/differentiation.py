"""One GradientTape pass over a batch: the model's own call, its loss, and the requested gradients."""

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from functools import partial
from typing import Any

import tensorflow as tf
from keras import Layer

from tfdump.captures import Captures
from tfdump.errors import ModelError
from tfdump.model.gradients.wrt import WEIGHTS, GradientRequest, Sources, Target, choose_sources, has_gradient
from tfdump.model.keras_signature import training_argument
from tfdump.model.losses.compiled import added_losses
from tfdump.model.losses.logits import ORIGINAL, source_of_logits
from tfdump.model.losses.scalar import HOW, BatchTargets, Scalar
from tfdump.model.losses.target_checks import check_class_indices, check_class_names, takes_class_indices
from tfdump.model.losses.terms import COUNTS, Term, divisor
from tfdump.model.outputs import Outputs, named_outputs
from tfdump.model.recording.recorder import Recorder
from tfdump.model.recording.tensors import copy_with_notes
from tfdump.model.signature import Signature
from tfdump.model.tracing.traced import Tensors
from tfdump.tensors import Array, NotCaptured

_PROBABILITIES = ("Softmax", "Sigmoid")


@dataclass(frozen=True)
class TargetColumns:
    """The columns of a source that hold the targets and the sample weights, by output, with labels for messages.

    `classes` are the numbers of classes of targets that were names of classes, by output.
    """

    targets: Mapping[str, str]
    weights: Mapping[str, str]
    labels: Mapping[str, str]
    classes: Mapping[str, int]

    def of(self, tensors: Mapping[str, Any], rows: Any = None) -> BatchTargets:
        """Return the targets and sample weights of one batch; `rows` is the number of rows that count, None for all."""
        targets = {output: tensors[column] for output, column in self.targets.items()}
        weights = {output: tensors[column] for output, column in self.weights.items()}
        return BatchTargets(targets, weights, self.labels, rows)


@dataclass(frozen=True)
class Pass:
    """The tensors of one pass: the terms of the loss, the losses that layers add, the loss, and the gradients.

    `forward` are the tensors with respect to which the gradients are, in the same order.
    """

    terms: list[Term]
    added: list[Any]
    loss: Any
    gradients: list[Any]
    forward: list[Any]


class Differentiation:
    """The pass over one batch; the first run determines `targets`, `unconnected` and `not_captured` for all runs.

    The loss depends on `targets`, but not on `unconnected`; `behind_logits` are the keys of the unconnected ones in
    whose place the loss used the logits.
    """

    def __init__(
        self,
        model: Layer,
        signature: Signature,
        inputs: Sequence[str],
        scalar: Scalar,
        target_columns: TargetColumns,
        request: GradientRequest,
    ) -> None:
        self.model = model
        self.scalar = scalar
        self.request = request
        self._signature = signature
        self._inputs = list(inputs)
        self._target_columns = target_columns
        self._known = False
        self.targets: tuple[Target, ...] = ()
        self.unconnected: tuple[Target, ...] = ()
        self.behind_logits: frozenset[tuple[str, str]] = frozenset()
        self.not_captured: tuple[NotCaptured, ...] = ()
        self.late: set[str] = set()
        self.terms: tuple[Term, ...] = ()
        self.has_added_losses = False
        self.bytes = 0

    def forget(self) -> None:
        """Let the next run determine again which gradients there are."""
        self._known, self.late = False, set()

    def forward(self, tensors: Tensors, rows: Any = None) -> list[Term]:
        """Return the terms of the loss, without differentiating."""
        return self.scalar.terms(self._call(tensors), self._target_columns.of(tensors, rows))

    def run(self, tensors: Tensors, divisors: Any, rows: Any) -> Pass:
        """Differentiate the loss of a batch; each term is divided by its divisor.

        Without `divisors`, the loss is that of Keras for this batch alone. `rows` is the number of rows that count,
        None for all. Raises ModelError where there is no loss.
        """
        tape = tf.GradientTape(watch_accessed_variables=False)
        with tape:
            inputs = {name: _watched(tensors[name], tape) for name in self._inputs}
            if WEIGHTS in self.request.wrt or self.request.ops:  # the tape sees no operation on weights alone
                tape.watch([variable.value for variable in self.model.trainable_weights])
            captures = Captures(ops=self.request.ops)
            recorder = Recorder(self.model, tap=lambda tensor: _watched(tensor, tape), captures=captures)
            with recorder.watching(inputs):
                outputs = self._call({**tensors, **inputs})
            added = [tf.reduce_sum(loss) for loss in added_losses(self.model)] if self.scalar.regularized else []
            self.model._clear_losses()
            terms = self.scalar.terms(outputs, self._target_columns.of(tensors, rows))
            if not (terms or added or any(map(_regularized, self.model.trainable_weights))):
                raise ModelError(f"the model was saved without a loss, and its layers add none; {HOW}")
            loss = _total(terms, divisors, added)
            scaled = loss * tf.cast(self.request.loss_scale, loss.dtype) if self.request.loss_scale != 1 else loss
        self.bytes = recorder.bytes
        sources = choose_sources(self.model, recorder, inputs, self.request)
        connected = self._connected(sources, tape.gradient(scaled, list(sources.tensors)))
        self.terms, self.has_added_losses = tuple(terms), bool(added)
        if not self._known:
            self._known = True
            self._determine(sources, connected.keys(), terms)
        self.late |= {address for _, address in connected.keys() - {target.key for target in self.targets}}
        wanted = [connected.get(target.key, (None, None)) for target in self.targets]
        return Pass(terms, added, loss, [gradient for gradient, _ in wanted], [tensor for _, tensor in wanted])

    def _connected(self, sources: Sources, gradients: Sequence[Any]) -> dict[tuple[str, str], tuple[Any, Any]]:
        """Return the gradient and the tensor of each target that the loss depends on, by the key of the target."""
        connected = {
            target.key: (_unscaled(gradient, self.request.loss_scale), tensor)
            for target, tensor, gradient in zip(sources.targets, sources.tensors, gradients, strict=True)
            if gradient is not None
        }
        if self.scalar.regularized:  # the regularization alone depends on it, which is added once for all batches
            connected |= {
                target.key: (tf.zeros_like(tensor), tensor)
                for target, tensor in zip(sources.targets, sources.tensors, strict=True)
                if target.key not in connected and _regularized(target.weight)
            }
        return connected

    def _determine(self, sources: Sources, connected: Set[tuple[str, str]], terms: Sequence[Term]) -> None:
        """Determine which gradients there are; `connected` are the keys of the targets that the loss depends on."""
        self.targets = tuple(target for target in sources.targets if target.key in connected)
        self.unconnected = tuple(target for target in sources.targets if target.key not in connected)
        self.behind_logits = frozenset(
            target.key
            for target, tensor in zip(sources.targets, sources.tensors, strict=True)
            if any(source_of_logits(tensor) is logits for term in terms for logits in term.logits)
        )
        self.not_captured = sources.not_captured

    def indexed_columns(self) -> list[tuple[str, Callable[[Array, int], None]]]:
        """Return the columns whose targets are class indices, each with its check.

        The check takes rows and the number of the first one, and raises InputError for an index out of range. Raises
        InputError for names of classes that are the targets of another loss.
        """
        for term in self.terms:
            if term.loss is not None and term.output in self._target_columns.classes:
                classes, label = self._target_columns.classes[term.output], self._target_columns.labels[term.output]
                check_class_names(term.loss, classes, label)
        return [
            (
                self._target_columns.targets[term.output],
                partial(check_class_indices, term.loss, term.classes, self._target_columns.labels[term.output]),
            )
            for term in self.terms
            if term.loss is not None and takes_class_indices(term.loss)
        ]

    def _call(self, tensors: Mapping[str, Any]) -> Outputs:
        args, kwargs = self._signature.arguments({name: tensors[name] for name in self._inputs})
        structure = self.model(*args, **training_argument(self.model, self.request.training), **kwargs)
        return named_outputs(self.model, structure)


def _watched(tensor: Any, tape: tf.GradientTape) -> Any:
    """Return a copy of a tensor that the tape watches, with the notes of Keras; return one without gradients as it is.

    It is a copy because a layer may return its own input: one tensor under two addresses would get the sum of both
    gradients. Keras notes the mask, and the logits behind a softmax or sigmoid, from which it computes crossentropies.
    Where it noted no logits, it looks at the operation.
    """
    if not has_gradient(tensor):
        return tensor
    copy = copy_with_notes(tensor)
    symbolic = isinstance(tensor, tf.Tensor) and not tf.executing_eagerly()
    if symbolic and tensor.op.type in _PROBABILITIES:
        setattr(copy, ORIGINAL, tensor)
    elif hasattr(tensor, ORIGINAL):
        setattr(copy, ORIGINAL, getattr(tensor, ORIGINAL))
    tape.watch(copy)
    return copy


def _regularized(weight: Any) -> bool:
    return getattr(weight, "regularizer", None) is not None


def _total(terms: Sequence[Term], divisors: Any, added: Sequence[Any]) -> Any:
    """Return the scalar: the sum of the terms over their divisors, times their weights, and of the added losses."""
    parts = []
    for number, term in enumerate(terms):
        by = divisor(term.reduction, term.counts, term.weighted) if divisors is None else divisors[number]
        mean = tf.math.divide_no_nan(term.sum, tf.cast(by, term.elements.dtype))
        parts.append(mean * tf.cast(term.weight, mean.dtype) if term.weight != 1 else mean)
    parts = [*parts, *added] or [tf.zeros(())]
    widest = max((part.dtype for part in parts), key=lambda dtype: dtype.size)
    return tf.add_n([tf.cast(part, widest) for part in parts])


def _unscaled(gradient: Any, scale: float) -> Any:
    """Divide a gradient by the scale of the loss, in float32 where its dtype is narrower."""
    if scale == 1:
        return gradient
    if isinstance(gradient, tf.IndexedSlices):
        return tf.IndexedSlices(_unscaled(gradient.values, scale), gradient.indices, gradient.dense_shape)
    wide = tf.cast(gradient, tf.float32) if gradient.dtype.size < 4 else gradient
    return wide / tf.cast(scale, wide.dtype)


def counts_of(terms: Sequence[Term]) -> Any:
    """Return the counts of the terms as one tensor, float64 (terms, COUNTS)."""
    return tf.stack([term.counts for term in terms]) if terms else tf.zeros((0, COUNTS), tf.float64)
