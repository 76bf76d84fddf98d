"""Arranges values in the form that each kind of picture draws."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from tfdump.dump.kernel_axes import in_keras_order
from tfdump.errors import TfdumpError
from tfdump.plots.kinds import Subject
from tfdump.plots.values import Floats
from tfdump.tensors import Array


def squeezed_subject(subject: Subject) -> Subject:
    """Return a subject without the axes of size 1 that no picture shows; `without_single_axes` does so for values.

    The last axis of an image stays (one channel). A sequence of one feature becomes a vector.
    """
    return replace(subject, body=tuple(subject.body[axis] for axis in _drawn_axes(subject)))


def without_single_axes(values: Floats, subject: Subject) -> Floats:
    """Return values of a subject in the shape that they have once it is squeezed."""
    return values.reshape([values.shape[axis] for axis in _drawn_axes(subject)])


def as_maps(values: Floats, channels_first: bool) -> tuple[Floats, list[str]]:
    """Return `(H, W, C)` and the names of the channels; each place along further leading axes is a separate channel."""
    last = channels_last(values, channels_first)
    if last.ndim == 3:
        return last, [str(number) for number in range(last.shape[2])]
    frames = last.reshape(-1, *last.shape[-3:])
    count, height, width, channels = frames.shape
    together = np.transpose(frames, (1, 2, 3, 0)).reshape(height, width, channels * count)
    places = [".".join(map(str, place)) for place in np.ndindex(last.shape[:-3])]
    return together, [f"{channel}:{place}" for channel in range(channels) for place in places]


def channels_last(values: Array, channels_first: bool) -> Array:
    """Return an image with its channels last."""
    return np.moveaxis(values, 0, -1) if channels_first and values.ndim >= 3 else values


def as_matrix(values: Floats) -> Floats:
    """Return values of any rank from 1 up as a matrix: a vector as one row, later axes flattened into columns."""
    return values.reshape(1, -1) if values.ndim == 1 else values.reshape(len(values), -1)


def axis_names(subject: Subject, rank: int) -> tuple[str, str]:
    """Return the names of the rows and the columns of `as_matrix`."""
    if rank == 1:
        return "", "unit"
    flat = f"axes 1 to {rank - 1}, flattened"
    if not subject.weight:
        return "position", "unit" if rank == 2 else flat
    if rank == 2 and "Embedding" in subject.class_name:
        return "row of the table", "unit"
    if rank == 2 and len(subject.axes) == 2:
        return subject.axes[0], subject.axes[1]
    if rank == 2 and subject.address.endswith("kernel"):
        return "input", "unit"
    return "axis 0", "axis 1" if rank == 2 else flat


def as_kernels(values: Floats, subject: Subject) -> tuple[Floats, list[str]]:
    """Return kernels `(H, W, inputs, filters)` with a name for every input channel.

    Keras stores `(*window, inputs, filters)`, and `(*window, filters, inputs)` for transposed convolutions. Kernels of
    other files have names for their axes. A window of one axis becomes a column. In a window of three axes, each depth
    of an input channel becomes a separate input.
    """
    if len(subject.axes) == values.ndim:
        values = values.transpose([subject.axes.index(axis) for axis in in_keras_order(subject.axes)])
    elif "Transpose" in subject.class_name:
        values = np.swapaxes(values, -1, -2)
    if values.ndim == 3:
        values = values[:, None]
    if values.ndim == 4:
        return values, [str(number) for number in range(values.shape[2])]
    window = values.reshape(-1, *values.shape[-4:])
    deep, height, width, inputs, filters = window.shape
    together = np.transpose(window, (1, 2, 3, 0, 4)).reshape(height, width, inputs * deep, filters)
    return together, [f"{channel}:{place}" for channel in range(inputs) for place in range(deep)]


def tokens_for(
    tokens: Sequence[str] | None, shape: tuple[int, ...], address: str
) -> tuple[Sequence[str] | None, Sequence[str] | None]:
    """Return the labels of the queries and of the keys: tokens label each side that has as many places.

    Raises TfdumpError where neither side has.
    """
    if tokens is None:
        return None, None
    named = tuple(tokens if len(tokens) == size else None for size in shape)
    if named == (None, None):
        raise TfdumpError(
            f"--tokens has {len(tokens):,} lines, and '{address}' has {shape[0]:,} queries and {shape[1]:,} keys "
            "(write one token per line, padding included)"
        )
    return named[0], named[1]


def check_overlay(picture: Array, gradient: Array, address: str) -> None:
    """Raise TfdumpError where an input is not an image of the size of its gradient."""
    if picture.ndim not in (2, 3) or picture.shape[:2] != gradient.shape[:2]:
        raise TfdumpError(
            f"the overlay has shape {picture.shape}, and the gradient '{address}' has {gradient.shape} "
            "(give the input itself, one example of it or all)"
        )


def is_channels_first(config: dict[str, Any] | None) -> bool:
    """Return whether every layer of a model's configuration that has a `data_format` is `channels_first`."""
    return _formats(config) == {"channels_first"}


def _formats(part: Any) -> set[str]:
    if isinstance(part, dict):
        own = {str(part["data_format"])} if isinstance(part.get("data_format"), str) else set()
        return own.union(*(_formats(value) for value in part.values()))
    return set().union(*(_formats(value) for value in part)) if isinstance(part, list) else set()


def _drawn_axes(subject: Subject) -> list[int]:
    """Return the axes of the body that a picture shows."""
    rank, body = len(subject.body), subject.body
    if rank < 2 or "attention_scores" in subject.address:
        return list(range(rank))
    if subject.weight and len(subject.axes) == rank:
        return list(range(rank))
    if subject.weight:
        window = rank - 2 if rank > 2 and "Conv" in subject.class_name and set(body[:-2]) == {1} else 0
        return list(range(window, rank))  # a convolution of 1 x 1 is a matrix
    axes = [axis for axis in range(rank - 1) if body[axis] != 1]
    return [*axes, *([rank - 1] if body[-1] != 1 or len(axes) != 1 else [])]
