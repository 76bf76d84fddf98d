"""The names of the axes of a kernel, which files other than those of Keras hold in another order."""

from collections.abc import Mapping, Sequence
from typing import Any

AXES = "axes"
"""The attribute of a kernel in a dump that names its axes in order, separated by commas."""

OUTPUT, INPUT, ONE = "output", "input", "one"
"""The axes of the filters and of the input channels, or one of size 1 in place of these. The others are the window."""

_LAST = (INPUT, ONE, OUTPUT)


def axes_of(attributes: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names of the axes of a kernel; empty where they are not told, as for Keras."""
    text = attributes.get(AXES)
    return tuple(text.split(",")) if isinstance(text, str) else ()


def in_keras_order(axes: Sequence[str]) -> tuple[str, ...]:
    """Return the names of axes in the order of Keras: the window, the input channels, the filters."""
    return (*(axis for axis in axes if axis not in _LAST), *(axis for axis in _LAST if axis in axes))
