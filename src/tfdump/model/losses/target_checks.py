"""Checks that targets fit the loss and the output, before Keras broadcasts them or fails."""

from typing import Any

import keras
import numpy as np

from tfdump.errors import InputError
from tfdump.tensors import Array

_SPARSE = frozenset(
    {
        "SparseCategoricalCrossentropy",
        "sparse_categorical_crossentropy",
        "CategoricalGeneralizedCrossEntropy",
    }
)
_BINARY = frozenset(
    {
        "BinaryCrossentropy",
        "binary_crossentropy",
        "BinaryFocalCrossentropy",
        "binary_focal_crossentropy",
        "Hinge",
        "hinge",
        "SquaredHinge",
        "squared_hinge",
    }
)
"""Losses whose targets are 0 or 1, which two classes are."""

_FREE = frozenset({"CTC", "ctc", "Circle", "circle"})
"""Losses of Keras whose targets need not have the shape of the output."""


def function_name(loss: keras.losses.Loss) -> str:
    """Return the name of a loss in Keras: of its class, or of the function that it wraps; "" for a custom loss."""
    wrapped = type(loss).__name__ == "LossFunctionWrapper"
    name = getattr(loss.fn, "__name__", "") if wrapped else type(loss).__name__
    known = getattr(keras.losses, name, None)
    return name if known is not None and known in (type(loss), getattr(loss, "fn", None)) else ""


def takes_class_indices(loss: keras.losses.Loss) -> bool:
    """Tell whether the targets of a loss are class indices."""
    return function_name(loss) in _SPARSE


def check_shapes(loss: keras.losses.Loss, true: Any, pred: Any, label: str, output: str) -> None:
    """Raise InputError where targets of shape `true` do not fit an output of shape `pred`.

    A custom loss may take any targets.
    """
    name = function_name(loss)
    if not name or name in _FREE or true.rank is None or pred.rank is None:
        return
    if name in _SPARSE:
        if _same(true, pred[:-1]) or (true.rank == pred.rank and true[-1] == 1 and _same(true[:-1], pred[:-1])):
            return
        one_hot = _same(true, pred)
        hint = (
            "one-hot rows? use --loss categorical_crossentropy, or save targets.argmax(-1)"
            if one_hot
            else "save one integer per example"
        )
        raise InputError(
            f"the loss '{loss.name}' takes class indices {static_shape_text(pred[:-1])} for the output '{output}' "
            f"{static_shape_text(pred)}, but {label} has shape {static_shape_text(true)} ({hint})"
        )
    if _same(true, pred) or _same_but_last(true, pred) or _same_but_last(pred, true):
        return
    hint = "the targets must have the shape of the output"
    if "ategorical" in name and _same(true, pred[:-1]):
        hint = "class indices? use --loss sparse_categorical_crossentropy, or save one-hot rows"
    raise InputError(
        f"the loss '{loss.name}' compares {label} {static_shape_text(true)} with the output '{output}' "
        f"{static_shape_text(pred)} ({hint})"
    )


def check_class_names(loss: keras.losses.Loss, classes: int, label: str) -> None:
    """Raise InputError where a loss takes no class indices, to which the names of so many classes were converted.

    A custom loss may take them.
    """
    name = function_name(loss)
    if not name or name in _SPARSE or (name in _BINARY and classes <= 2):
        return
    raise InputError(
        f"{label} holds names of {classes} classes, and the loss '{loss.name}' takes no class indices (give "
        "numbers, or use --loss sparse_categorical_crossentropy)"
    )


def check_class_indices(loss: keras.losses.Loss, classes: int | None, label: str, targets: Array, start: int) -> None:
    """Raise InputError where a class index is not a whole number from 0 to `classes` - 1.

    `start` is the number of the first row, for the message.
    """
    ignored = getattr(loss, "ignore_class", None)
    if ignored is None:
        ignored = getattr(loss, "_fn_kwargs", {}).get("ignore_class")
    with np.errstate(invalid="ignore"):
        bad = (targets < 0) | (targets >= (classes if classes is not None else np.inf))
        if targets.dtype.kind == "f":
            bad |= targets != np.floor(targets)
    if ignored is not None:
        bad &= targets != ignored
    if bad.any():
        first = tuple(int(n) for n in np.argwhere(bad)[0])
        last = f" to {classes - 1}" if classes is not None else " up"
        raise InputError(
            f"{label}: class {targets[first]} in row {start + first[0]} is out of range for the loss '{loss.name}' "
            f"(the output has {classes or 'open'} classes, numbered 0{last})"
        )


def static_shape_text(shape: Any) -> str:
    """Return a static shape of TensorFlow as text, with ? for open sizes."""
    if shape.rank is None:
        return "?"
    sizes = ["?" if size is None else str(size) for size in shape]
    return f"({', '.join(sizes)}{',' if len(sizes) == 1 else ''})"


def _same(a: Any, b: Any) -> bool:
    return len(a) == len(b) and all(m is None or n is None or m == n for m, n in zip(a, b, strict=True))


def _same_but_last(longer: Any, shorter: Any) -> bool:
    """Tell whether two shapes are equal but for a last axis of 1 that one of them has."""
    return len(longer) == len(shorter) + 1 and longer[-1] == 1 and _same(longer[:-1], shorter)
