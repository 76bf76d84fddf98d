"""The scalar that is differentiated, term by term: sums over a batch, and what divides them (DESIGN section 8).

Follows Keras's `Loss.__call__` and `reduce_weighted_values`, with the division taken out, so that the terms of
several batches can be added up before it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tfdump.errors import InputError, ModelError, TfdumpError
from tfdump.model.error_text import first_line
from tfdump.model.keras_internals import apply_mask, get_keras_mask, squeeze_or_expand_to_same_rank
from tfdump.model.losses.logits import NOTED, looking_behind_copies
from tfdump.model.losses.target_checks import check_shapes, function_name, shown

SUMMING = (None, "none", "sum")
COUNTS = 4
"""How many numbers tell the divisor of a term: its elements, those unmasked, those of the mask, the sum of weights."""

_COUPLING = frozenset({"Circle", "circle"})
"""Losses of Keras that compare the examples of a batch with each other, though they have a value for each."""


@dataclass(frozen=True)
class Term:
    """One loss on one output: `weight` times the sum of `elements` over a divisor that `counts` (COUNTS,) tells.

    `per_example` is the number of elements of one example where the graph knows it and neither mask nor weights
    decide the divisor, else None. `coupled` says why examples cannot be split over batches. `range` (2,) has the least
    and the largest value of an output that is taken for probabilities, else it is empty. `loss` is that of Keras, and
    `classes` the length of the output's last axis. `logits` are the sources of the logits that it took in place of an
    output (`source_of_logits`).
    """

    name: str
    output: str
    weight: float
    reduction: str | None
    elements: Any
    counts: Any
    weighted: bool
    per_example: int | None
    coupled: str | None
    range: Any
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


def divisor(reduction: str | None, counts: Any, weighted: bool) -> Any:
    """Return what Keras divides the sum by, from `counts` of NumPy or of TensorFlow; masks and weights included."""
    if reduction in SUMMING:
        return 1.0
    elements, valid, total, weights = (counts[..., n] for n in range(COUNTS))
    if reduction == "mean_with_sample_weight":
        return weights if weighted else elements
    return elements * valid / total


def loss_term(
    loss: keras.losses.Loss,
    output: str,
    weight: float,
    y_true: Any,
    y_pred: Any,
    sample_weight: Any,
    *,
    label: str,
    rows: Any = None,
    reduction: str = "mean",
) -> Term:
    """Evaluate one loss of Keras on one output; `label` names the targets' file in errors.

    `rows` is the number of rows that count, None for all. `reduction` is `mean` for the loss's own, or `sum`.
    Raises InputError where the targets do not fit the loss and the output.
    """
    in_mask = get_keras_mask(y_pred)
    check_shapes(loss, y_true.shape, y_pred.shape, label, output)
    own_call = type(loss).__call__ is not keras.losses.Loss.__call__
    if own_call and reduction == "sum":
        raise ModelError(f"--reduction sum: the loss '{loss.name}' has its own __call__, which reduces as it likes")
    try:
        with looking_behind_copies() as logits:
            if own_call:
                term = _opaque_term(loss, output, weight, loss(y_true, y_pred, sample_weight))
                return replace(term, logits=tuple(logits))
            pred = keras.ops.convert_to_tensor(y_pred, dtype=loss.dtype)
            true = keras.ops.convert_to_tensor(y_true, dtype=loss.dtype)
            values = loss.call(true, pred)
    except TfdumpError:
        raise
    except Exception as cause:  # the loss may be the user's own
        raise InputError(
            f"the loss '{loss.name}' fails on targets {shown(y_true.shape)} ({label}) against the output '{output}' "
            f"{shown(y_pred.shape)}: {first_line(cause)}"
        ) from cause
    masks = [mask for mask in (in_mask, get_keras_mask(values)) if mask is not None]
    values = keras.ops.convert_to_tensor(values, dtype=loss.dtype)
    mask = None
    if masks:
        mask = tf.cast(masks[0] if len(masks) == 1 else masks[0] & masks[1], values.dtype)
    if rows is not None and values.shape.rank:
        values, mask, sample_weight = (None if t is None else t[:rows] for t in (values, mask, sample_weight))
    weights = apply_mask(
        None if sample_weight is None else tf.cast(sample_weight, values.dtype),
        mask,
        dtype=values.dtype,
        reduction="sum",
    )
    coupled = None
    if not values.shape.rank:
        coupled = f"the loss '{loss.name}' gives one number for all of them"
    elif type(loss).__name__ in _COUPLING or getattr(getattr(loss, "fn", None), "__name__", "") in _COUPLING:
        coupled = f"the loss '{loss.name}' compares them with each other"
    if weights is not None:
        values, weights = squeeze_or_expand_to_same_rank(values, weights)
        _check_weights(values.shape, weights.shape, loss.name, sample_weight is not None)
        values = values * weights
    own = loss.reduction if reduction == "mean" else "sum"
    decided = mask is None and (weights is None or own != "mean_with_sample_weight")
    return Term(
        loss.name,
        output,
        weight,
        own,
        values,
        _counts(values, mask, weights),
        weights is not None,
        _size_of_one(values) if decided else None,
        coupled,
        _range(loss, y_pred),
        loss,
        y_pred.shape[-1] if y_pred.shape.rank else None,
        tuple(logits),
    )


def _opaque_term(loss: keras.losses.Loss, output: str, weight: float, value: Any) -> Term:
    """Return the term of a loss that reduces in a call of its own: one number for all examples."""
    total = tf.reduce_sum(tf.convert_to_tensor(value))
    why = f"the loss '{loss.name}' has its own __call__"
    return Term(loss.name, output, weight, "sum", total, _counts(total, None, None), False, None, why, tf.zeros((0,)))


def objective_term(name: str, output: str, elements: Any, rows: Any, reduction: str) -> Term:
    """Return a term of an objective: `elements` (examples, ...) of an output, summed."""
    elements = elements[:rows] if rows is not None and elements.shape.rank else elements
    coupled = None if elements.shape.rank else f"the output '{output}' is one number for all of them"
    own = "sum" if reduction == "sum" else "mean"
    counts = _counts(elements, None, None)
    return Term(name, output, 1.0, own, elements, counts, False, _size_of_one(elements), coupled, tf.zeros((0,)))


def divisors_of(
    terms: Sequence[Term], counts: npt.NDArray[np.float64] | None, examples: int
) -> npt.NDArray[np.float64]:
    """Return what the terms are divided by for all `examples` together, float64 (terms,).

    `counts` (terms, COUNTS) are those of all batches; None where the shapes of the graph tell enough.
    """
    found = []
    for number, term in enumerate(terms):
        if term.per_example is not None:
            every = np.array([term.per_example * examples, 1, 1, 0], np.float64)
        elif counts is not None:
            every = counts[number]
        else:
            raise ModelError(f"the divisor of the loss '{term.name}' was not counted")
        found.append(divisor(term.reduction, every, term.weighted))
    return np.array(found, np.float64)


def _counts(values: Any, mask: Any, weights: Any) -> Any:
    """Return the numbers that tell the divisor, float64 (COUNTS,)."""
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
    """Return the least and the largest value of an output that the loss takes for probabilities, else nothing.

    Where Keras knows the logits behind them, they are.
    """
    options = getattr(loss, "_fn_kwargs", {}) | vars(loss)
    takes = "crossentropy" in function_name(loss).lower() and not options.get("from_logits")
    if not takes or hasattr(y_pred, NOTED):
        return tf.zeros((0,))
    return tf.cast(tf.stack([tf.reduce_min(y_pred), tf.reduce_max(y_pred)]), tf.float32)


def _size_of_one(values: Any) -> int | None:
    """Return the number of elements of one example, None where the graph does not know it or there is none."""
    if not values.shape.rank:
        return None
    sizes = values.shape[1:]
    return None if None in sizes else math.prod(sizes)


def _check_weights(values: Any, weights: Any, loss: str, given: bool) -> None:
    """Raise InputError where weights or a mask do not have the shape of the elements that the loss gives."""
    same = values.rank == weights.rank and all(
        a is None or b is None or a == b for a, b in zip(values, weights, strict=True)
    )
    if not same and values.rank:
        what = "--sample-weight" if given else "the mask of the output"
        raise InputError(
            f"{what} has shape {shown(weights)}, and the loss '{loss}' gives one value for each of {shown(values)} "
            "(one weight is needed for each)"
        )
