"""One GradientTape pass over a batch: the model's own call, its loss, and the gradients that were asked for."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import tensorflow as tf
from keras import Layer

from tfdump.errors import ModelError
from tfdump.model.gradients.wrt import WEIGHTS, GradientRequest, Target, choose_sources, has_gradient
from tfdump.model.losses.compiled import added_losses
from tfdump.model.losses.logits import ORIGINAL, source_of_logits
from tfdump.model.losses.scalar import HOW, BatchTargets, Scalar
from tfdump.model.losses.target_checks import check_class_indices, takes_class_indices
from tfdump.model.losses.terms import COUNTS, Term, divisor
from tfdump.model.outputs import Outputs, named_outputs
from tfdump.model.recording.recorder import Recorder
from tfdump.model.recording.tensors import copy_with_notes
from tfdump.model.signature import Signature, training_argument
from tfdump.model.tracing.traced import Tensors
from tfdump.tensors import Array, NotCaptured

_PROBABILITIES = ("Softmax", "Sigmoid")


@dataclass(frozen=True)
class TargetColumns:
    """Which columns of a source are the targets and the sample weights of which output, and what they are called."""

    targets: Mapping[str, str]
    weights: Mapping[str, str]
    labels: Mapping[str, str]

    def of(self, tensors: Mapping[str, Any], rows: Any = None) -> BatchTargets:
        """Return the tensors of one batch by the names of the outputs."""
        targets = {output: tensors[column] for output, column in self.targets.items()}
        weights = {output: tensors[column] for output, column in self.weights.items()}
        return BatchTargets(targets, weights, self.labels, rows)


@dataclass(frozen=True)
class Pass:
    """What one pass gave, as tensors: the terms of the loss, what layers add to it, the loss, and the gradients."""

    terms: list[Term]
    added: list[Any]
    loss: Any
    gradients: list[Any]
    forward: list[Any]


class Differentiation:
    """The pass over one batch; what it finds out about the model at its first run stays the same for the others.

    `targets` are connected with the loss, `unconnected` are not; `behind_logits` are the keys of those that are not
    because the loss took the logits behind them.
    """

    def __init__(
        self,
        model: Layer,
        signature: Signature,
        inputs: Sequence[str],
        scalar: Scalar,
        supervised: TargetColumns,
        request: GradientRequest,
    ) -> None:
        self.model = model
        self.scalar = scalar
        self.request = request
        self._signature = signature
        self._inputs = list(inputs)
        self._supervised = supervised
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
        """Let the next run decide anew which gradients there are."""
        self._known, self.late = False, set()

    def forward(self, tensors: Tensors, rows: Any = None) -> list[Term]:
        """Return the terms of the loss, without differentiating."""
        return self.scalar.terms(self._call(tensors), self._supervised.of(tensors, rows))

    def run(self, tensors: Tensors, divisors: Any, rows: Any) -> Pass:
        """Differentiate the loss of a batch; each term is divided by its divisor.

        Without `divisors` the loss is what Keras would compute of this batch alone.
        """
        tape = tf.GradientTape(watch_accessed_variables=False)
        with tape:
            inputs = {name: _watched(tensors[name], tape) for name in self._inputs}
            if WEIGHTS in self.request.wrt:
                tape.watch([variable.value for variable in self.model.trainable_weights])
            recorder = Recorder(self.model, tap=lambda tensor: _watched(tensor, tape))
            with recorder.watching(inputs):
                outputs = self._call({**tensors, **inputs})
            added = [tf.reduce_sum(loss) for loss in added_losses(self.model)] if self.scalar.regularized else []
            self.model._clear_losses()
            terms = self.scalar.terms(outputs, self._supervised.of(tensors, rows))
            if not (terms or added or any(map(_regularized, self.model.trainable_weights))):
                raise ModelError(f"the model was saved without a loss, and its layers add none; {HOW}")
            loss = _total(terms, divisors, added)
            scaled = loss * tf.cast(self.request.loss_scale, loss.dtype) if self.request.loss_scale != 1 else loss
        self.bytes = recorder.bytes
        sources = choose_sources(self.model, recorder, inputs, self.request)
        gradients = tape.gradient(scaled, list(sources.tensors))
        connected = {
            target.key: (_unscaled(gradient, self.request.loss_scale), tensor)
            for target, tensor, gradient in zip(sources.targets, sources.tensors, gradients, strict=True)
            if gradient is not None
        }
        if self.scalar.regularized:  # reached by the regularisation alone, which is added once for all batches
            connected |= {
                target.key: (tf.zeros_like(tensor), tensor)
                for target, tensor in zip(sources.targets, sources.tensors, strict=True)
                if target.key not in connected and _regularized(target.weight)
            }
        self.terms, self.has_added_losses = tuple(terms), bool(added)
        if not self._known:
            self._known = True
            self.targets = tuple(target for target in sources.targets if target.key in connected)
            self.unconnected = tuple(target for target in sources.targets if target.key not in connected)
            self.behind_logits = frozenset(
                target.key
                for target, tensor in zip(sources.targets, sources.tensors, strict=True)
                if any(source_of_logits(tensor) is logits for term in terms for logits in term.logits)
            )
            self.not_captured = sources.not_captured
        self.late |= {address for _, address in connected.keys() - {target.key for target in self.targets}}
        wanted = [connected.get(target.key, (None, None)) for target in self.targets]
        return Pass(terms, added, loss, [gradient for gradient, _ in wanted], [tensor for _, tensor in wanted])

    def indexed_columns(self) -> list[tuple[str, Callable[[Array, int], None]]]:
        """Return the columns whose targets are class indices, each with its check.

        The check takes rows and the number of the first, and raises InputError where one is no class of the output.
        """
        return [
            (
                self._supervised.targets[term.output],
                partial(check_class_indices, term.loss, term.classes, self._supervised.labels[term.output]),
            )
            for term in self.terms
            if term.loss is not None and takes_class_indices(term.loss)
        ]

    def _call(self, tensors: Mapping[str, Any]) -> Outputs:
        args, kwargs = self._signature.arguments({name: tensors[name] for name in self._inputs})
        structure = self.model(*args, **training_argument(self.model, self.request.training), **kwargs)
        return named_outputs(self.model, structure)


def _watched(tensor: Any, tape: tf.GradientTape) -> Any:
    """Return a copy of a tensor that the tape watches, with what Keras notes on it; one without gradients as it is.

    A copy, because layers may return their own input, and one tensor under two addresses would have the sum of both
    gradients. Keras notes the mask, and the logits behind a softmax or sigmoid, from which it computes crossentropies;
    where it did not note them, it looks at the operation.
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
    """Return the scalar: the terms over their divisors, times their weights, and what layers add; else zero."""
    parts = []
    for number, term in enumerate(terms):
        by = divisor(term.reduction, term.counts, term.weighted) if divisors is None else divisors[number]
        mean = tf.math.divide_no_nan(term.sum, tf.cast(by, term.elements.dtype))
        parts.append(mean * tf.cast(term.weight, mean.dtype) if term.weight != 1 else mean)
    parts = [*parts, *added] or [tf.zeros(())]
    widest = max((part.dtype for part in parts), key=lambda dtype: dtype.size)
    return tf.add_n([tf.cast(part, widest) for part in parts])


def _unscaled(gradient: Any, scale: float) -> Any:
    """Take the scale of the loss out of a gradient, in float32 where it is narrower."""
    if scale == 1:
        return gradient
    if isinstance(gradient, tf.IndexedSlices):
        return tf.IndexedSlices(_unscaled(gradient.values, scale), gradient.indices, gradient.dense_shape)
    wide = tf.cast(gradient, tf.float32) if gradient.dtype.size < 4 else gradient
    return wide / tf.cast(scale, wide.dtype)


def counts_of(terms: Sequence[Term]) -> Any:
    """Return the counts of the terms as one tensor, float64 (terms, COUNTS)."""
    return tf.stack([term.counts for term in terms]) if terms else tf.zeros((0, COUNTS), tf.float64)
