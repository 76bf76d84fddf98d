"""The axis along which a layer works, where that is not the last one."""

from typing import Any

from keras import Operation

_ALONG_AN_AXIS = ("Softmax", "BatchNormalization", "GroupNormalization", "Normalization")
"""Classes of layers and operations whose `axis` is that of the units, or the one that sums to 1."""


def axis_attributes(operation: Operation) -> tuple[tuple[str, Any], ...]:
    """Return the attributes `axis` (an int, or several) and `data_format` of a tensor, unless they are the defaults."""
    attributes: list[tuple[str, Any]] = []
    axis = getattr(operation, "axis", None)
    if isinstance(axis, (list, tuple)):
        axis = [int(one) for one in axis] if all(isinstance(one, int) for one in axis) else None
        axis = axis[0] if axis and len(axis) == 1 else axis
    names = {base.__name__ for base in type(operation).__mro__}
    if names.intersection(_ALONG_AN_AXIS) and isinstance(axis, (int, list)) and axis not in (-1, []):
        attributes.append(("axis", axis))
    if getattr(operation, "data_format", None) == "channels_first":
        attributes.append(("data_format", "channels_first"))
    return tuple(attributes)
