"""The terms of the scalar that is differentiated: sums over a batch, and their divisors (docs/gradients.md).

This follows `Loss.__call__` and `reduce_weighted_values` of Keras, but leaves out the division, so that the terms of
several batches can be added up before it.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tfdump.errors import InputError, ModelError, TfdumpError
from tfdump.model.any_backend_internals import get_keras_mask
from tfdump.model.error_text import first_line
from tfdump.model.keras_internals import apply_mask, squeeze_or_expand_to_same_rank
from tfdump.model.losses.logits import looking_behind_copies
from tfdump.model.losses.target_checks import check_shapes, function_name, static_shape_text
from tfdump.model.recording.tensors import LOGITS_NOTE

SUMMING = (None, "none", "sum")
COUNTS = 4
"""How many numbers decide a term's divisor: its elements, those not masked, those of the mask, the sum of weights."""

_COUPLING = frozenset({"Circle", "circle"})
"""Losses of Keras that compare the examples of a batch with each other, although they give one value per example."""


def _nothing() -> Any:
    return tf.zeros((0,))


@dataclass(frozen=True, kw_only=True)
class Term:
    """One loss on one output: `weight` times the sum of `elements` over a divisor, which `counts` (COUNTS,) decides.

    `weighted` tells whether sample weights or a mask multiply the elements. `per_example` is the number of elements
    of one example where the graph knows it and neither mask nor weights decide the divisor, else None. `coupled` says
    why the examples cannot be split over batches, or is None. `range` (2,) has the least and the largest value of an
    output that the loss takes for probabilities, else it is empty. `loss` is the object of Keras, and `classes` the
    length of the output's last axis. `logits` identify the logits that the loss used in place of the output
    (`source_of_logits`).
    """

    name: str
    output: str
    weight: float = 1.0
    reduction: str | None
    elements: Any
    counts: Any
    weighted: bool = False
    per_example: int | None = None
    coupled: str | None = None
    range: Any = field(default_factory=_nothing)
    loss: keras.losses.Loss | None = None
    classes: int | None = None
    logits: tuple[Any, ...] = ()

    @property
    def dtype(self) -> str:
        """The dtype in which the loss is computed."""
        return str(self.elements.dtype.name)

    @property
    def sum(self) -> Any:
        """The sum of the elements, a scalar."""
        return tf.reduce_sum(self.elements)


@dataclass(frozen=True)
class LabeledOutput:
    """One output of a model for one batch, and the targets and sample weights that a loss takes with it.

    `sample_weight` may be None. `label` is what errors call the targets, and `rows` the number of rows that count,
    None for all.
    """

    name: str
    predictions: Any
    targets: Any
    sample_weight: Any
    label: str
    rows: Any = None


@dataclass(frozen=True)
class _Elements:
    """The values of a loss before any reduction, times `weights`: sample weights and mask, None without either.

    `coupled` and `logits` are those of `Term`.
    """

    values: Any
    mask: Any
    weights: Any
    coupled: str | None
    logits: tuple[Any, ...]


def divisor(reduction: str | None, counts: Any, weighted: bool) -> Any:
    """Return what Keras divides the sum by; `counts` are of NumPy or of TensorFlow, with masks and weights included."""
    if reduction in SUMMING:
        return 1.0
    elements, valid, total, weights = (counts[..., n] for n in range(COUNTS))
    if reduction == "mean_with_sample_weight":
        return weights if weighted else elements
    return elements * valid / total


def loss_term(loss: keras.losses.Loss, output: LabeledOutput, weight: float = 1.0, reduction: str = "mean") -> Term:
    """Evaluate one loss of Keras on one output; `reduction` is `mean` for the loss's own one, or `sum`.

    Raises InputError where the targets do not fit the loss and the output.
    """
    check_shapes(loss, output.targets.shape, output.predictions.shape, output.label, output.name)
    if type(loss).__call__ is not keras.losses.Loss.__call__:
        if reduction == "sum":
            raise ModelError(
                f"--reduction sum: the loss '{loss.name}' has its own __call__, which decides the reduction "
                "(leave --reduction out)"
            )
        return _opaque_term(loss, output, weight)
    elements = _elements(loss, output)
    own = loss.reduction if reduction == "mean" else "sum"
    fixed = elements.mask is None and (elements.weights is None or own != "mean_with_sample_weight")
    return Term(
        name=loss.name,
        output=output.name,
        weight=weight,
        reduction=own,
        elements=elements.values,
        counts=_counts(elements.values, elements.mask, elements.weights),
        weighted=elements.weights is not None,
        per_example=_size_of_one(elements.values) if fixed else None,
        coupled=elements.coupled,
        range=_range(loss, output.predictions),
        loss=loss,
        classes=output.predictions.shape[-1] if output.predictions.shape.rank else None,
        logits=elements.logits,
    )


def _elements(loss: keras.losses.Loss, output: LabeledOutput) -> _Elements:
    """Evaluate a loss as `Loss.__call__` does, up to the reduction."""
    masks = [get_keras_mask(output.predictions)]
    with _failure_explained(loss, output), looking_behind_copies() as logits:
        predictions = keras.ops.convert_to_tensor(output.predictions, dtype=loss.dtype)
        targets = keras.ops.convert_to_tensor(output.targets, dtype=loss.dtype)
        values = loss.call(targets, predictions)
    masks = [mask for mask in (*masks, get_keras_mask(values)) if mask is not None]
    values = keras.ops.convert_to_tensor(values, dtype=loss.dtype)
    sample_weight, mask = output.sample_weight, None
    if masks:
        mask = tf.cast(masks[0] if len(masks) == 1 else masks[0] & masks[1], values.dtype)
    if output.rows is not None and values.shape.rank:
        values, mask, sample_weight = (None if t is None else t[: output.rows] for t in (values, mask, sample_weight))
    weights = apply_mask(
        None if sample_weight is None else tf.cast(sample_weight, values.dtype),
        mask,
        dtype=values.dtype,
        reduction="sum",
    )
    coupled = _coupling(loss, values)
    if weights is not None:
        values, weights = squeeze_or_expand_to_same_rank(values, weights)
        _check_weights(values.shape, weights.shape, loss.name, sample_weight is not None)
        values = values * weights
    return _Elements(values, mask, weights, coupled, tuple(logits))


@contextmanager
def _failure_explained(loss: keras.losses.Loss, output: LabeledOutput) -> Iterator[None]:
    """Turn what a loss raises into an InputError."""
    try:
        yield
    except TfdumpError:
        raise
    except Exception as cause:  # the loss may be the user's own
        raise InputError(
            f"the loss '{loss.name}' fails on targets {static_shape_text(output.targets.shape)} ({output.label}) "
            f"against the output '{output.name}' {static_shape_text(output.predictions.shape)}: {first_line(cause)}"
        ) from cause


def _coupling(loss: keras.losses.Loss, values: Any) -> str | None:
    """Return why the examples of a loss cannot be split over batches, or None."""
    if not values.shape.rank:
        return f"the loss '{loss.name}' gives one number for all of them"
    if type(loss).__name__ in _COUPLING or getattr(getattr(loss, "fn", None), "__name__", "") in _COUPLING:
        return f"the loss '{loss.name}' compares them with each other"
    return None


def _opaque_term(loss: keras.losses.Loss, output: LabeledOutput, weight: float) -> Term:
    """Return the term of a loss whose own `__call__` reduces it to one number for all examples."""
    with _failure_explained(loss, output), looking_behind_copies() as logits:
        total = tf.reduce_sum(tf.convert_to_tensor(loss(output.targets, output.predictions, output.sample_weight)))
    return Term(
        name=loss.name,
        output=output.name,
        weight=weight,
        reduction="sum",
        elements=total,
        counts=_counts(total, None, None),
        coupled=f"the loss '{loss.name}' has its own __call__",
        logits=tuple(logits),
    )


def objective_term(name: str, output: str, elements: Any, rows: Any, reduction: str) -> Term:
    """Return the term of an objective: `elements` (examples, ...) of an output, summed."""
    elements = elements[:rows] if rows is not None and elements.shape.rank else elements
    return Term(
        name=name,
        output=output,
        reduction="sum" if reduction == "sum" else "mean",
        elements=elements,
        counts=_counts(elements, None, None),
        per_example=_size_of_one(elements),
        coupled=None if elements.shape.rank else f"the output '{output}' is one number for all of them",
    )


def divisors_of(
    terms: Sequence[Term], counts: npt.NDArray[np.float64] | None, examples: int
) -> npt.NDArray[np.float64]:
    """Return the divisors of the terms for all `examples` together, float64 (terms,).

    `counts` (terms, COUNTS) are the sums over all batches; None where the shapes of the graph suffice.
    """
    divisors = []
    for number, term in enumerate(terms):
        if term.per_example is not None:
            every = np.array([term.per_example * examples, 1, 1, 0], np.float64)
        elif counts is not None:
            every = counts[number]
        else:
            raise ModelError(f"the divisor of the loss '{term.name}' was not counted")
        divisors.append(divisor(term.reduction, every, term.weighted))
    return np.array(divisors, np.float64)


def _counts(values: Any, mask: Any, weights: Any) -> Any:
    """Return the numbers that decide the divisor, float64 (COUNTS,)."""
    one = tf.constant(1.0, tf.float64)
    return tf.stack(
        [
            tf.cast(tf.size(values), tf.float64),
            one if mask is None else tf.reduce_sum(tf.cast(mask, tf.float64)),
            one if mask is None else tf.cast(tf.size(mask), tf.float64),
            one if weights is None else tf.reduce_sum(tf.cast(weights, tf.float64)),
        ]
    )


def _range(loss: keras.losses.Loss, y_pred: Any) -> Any:
    """Return the least and the largest value (2,) of an output that the loss takes for probabilities, else (0,).

    Where Keras knows the logits behind an output, the loss takes these.
    """
    options = getattr(loss, "_fn_kwargs", {}) | vars(loss)
    takes_probabilities = "crossentropy" in function_name(loss).lower() and not options.get("from_logits")
    if not takes_probabilities or hasattr(y_pred, LOGITS_NOTE):
        return _nothing()
    return tf.cast(tf.stack([tf.reduce_min(y_pred), tf.reduce_max(y_pred)]), tf.float32)


def _size_of_one(values: Any) -> int | None:
    """Return the number of elements of one example, None where the graph does not know it or there are no examples."""
    if not values.shape.rank:
        return None
    sizes = values.shape[1:]
    return None if None in sizes else math.prod(sizes)


def _check_weights(values: Any, weights: Any, loss: str, has_sample_weight: bool) -> None:
    """Raise InputError where sample weights or a mask do not have the shape of the values of the loss."""
    same = values.rank == weights.rank and all(
        a is None or b is None or a == b for a, b in zip(values, weights, strict=True)
    )
    if not same and values.rank:
        what = "--sample-weight" if has_sample_weight else "the mask of the output"
        raise InputError(
            f"{what} has shape {static_shape_text(weights)}, but the values of the loss '{loss}' have shape "
            f"{static_shape_text(values)} (give one weight for each value)"
        )
