"""How the integers of a quantized tensor stand for real numbers, and where a dump holds that; see docs/format.md."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tfdump.tensors import Array

SCALE = "scale"
ZERO_POINT = "zero_point"
QUANTIZED_AXIS = "quantized_axis"
QUANTIZED_DTYPE = "quantized_dtype"
QUANTIZATION = "quantization"
GROUP_INDEX = "group_index"
GROUP_AXES = "group_axes"
INPUT_SCALE = "input_scale"
ARRAYS = (SCALE, ZERO_POINT, GROUP_INDEX, INPUT_SCALE)
"""The attributes that may be arrays. One that is too large for an attribute is the dataset
`/quantization/NAME/GROUP/ADDRESS` instead, with the group and the address of the tensor.
"""

LARGEST_ARRAY_BYTES = 15_000
"""An object header holds 64 kB, and a tensor has four such arrays at most."""


@dataclass(frozen=True, eq=False)
class QuantizationParameters:
    """The numbers with which the integers `q` of a tensor stand for `(q - zero_point) * scale / input_scale`.

    `scale` and `zero_point` are scalars, or have one number per place along `axis`, or broadcast against the tensor.

    With `group_index`, the places along `group_axes` (in C order) belong to groups, whose numbers it holds. The first
    axis of `scale` and `zero_point` is the group then, and the others are the axes of the tensor that are not in
    `group_axes`. `input_scale` has one number per place along `group_axes`.
    """

    scale: Array
    zero_point: Array
    axis: int | None = None
    group_index: Array | None = None
    group_axes: tuple[int, ...] = ()
    input_scale: Array | None = None

    def dequantized(self, integers: Array) -> Array:
        """Return the real numbers that integers stand for, computed in float64 and rounded to float32."""
        shape = integers.shape
        real = integers.astype(np.float64) - self.zero_points(shape)
        real *= self.steps(shape)
        return real.astype(np.float32)

    def zero_points(self, shape: tuple[int, ...]) -> Array:
        """Return the integers that stand for zero, as float64 that broadcasts against `shape`."""
        return self._spread(self.zero_point, shape)

    def steps(self, shape: tuple[int, ...]) -> Array:
        """Return the distance between neighboring real numbers, as float64 that broadcasts against `shape`."""
        step = self._spread(self.scale, shape)
        if self.input_scale is None:
            return step
        with np.errstate(divide="ignore", invalid="ignore"):  # a damaged file has zeros
            return step / self._along_groups(self.input_scale, shape)

    def _spread(self, values: Array, shape: tuple[int, ...]) -> Array:
        """Return `scale` or `zero_point` as float64 that broadcasts against `shape`."""
        values = np.asarray(values, np.float64)
        if not values.ndim:
            return values
        if self.group_index is not None:
            if self.group_index.size and not 0 <= self.group_index.min() <= self.group_index.max() < len(values):
                raise ValueError(f"its '{GROUP_INDEX}' names groups other than the {len(values)} that it has")
            return self._along_groups(values[self.group_index.astype(np.int64)], shape)
        if self.axis is not None:
            if self.axis not in range(len(shape)):
                raise ValueError(f"its attribute '{QUANTIZED_AXIS}' is {self.axis!r}, and it has {len(shape)} axes")
            return values.reshape([-1 if axis == self.axis else 1 for axis in range(len(shape))])
        return values

    def _along_groups(self, values: Array, shape: tuple[int, ...]) -> Array:
        """Return values whose first axis is that of the places along `group_axes`, with these axes in their places."""
        if not set(self.group_axes) <= set(range(len(shape))):
            raise ValueError(f"its attribute '{GROUP_AXES}' is {list(self.group_axes)}, and it has {len(shape)} axes")
        rest = values.shape[1:] or (1,) * (len(shape) - len(self.group_axes))
        values = values.reshape([*(shape[axis] for axis in self.group_axes), *rest])
        return np.moveaxis(values, range(len(self.group_axes)), self.group_axes)

    @property
    def attributes(self) -> dict[str, Any]:
        """The parameters as attributes of a tensor, some of which may be too large for that."""
        named: dict[str, Any] = {
            SCALE: self.scale,
            ZERO_POINT: self.zero_point,
            QUANTIZED_AXIS: None if self.axis is None else np.int64(self.axis),
            GROUP_INDEX: self.group_index,
            GROUP_AXES: np.array(self.group_axes, np.int64) if self.group_axes else None,
            INPUT_SCALE: self.input_scale,
        }
        return {name: value for name, value in named.items() if value is not None}


def parameters_from(attributes: Mapping[str, Any]) -> QuantizationParameters | None:
    """Return the parameters that the attributes of a tensor tell, with its large arrays; None if there are none.

    Raises ValueError if they do not belong together.
    """
    if SCALE not in attributes:
        return None
    scale, zero = np.asarray(attributes[SCALE], np.float64), np.asarray(attributes.get(ZERO_POINT, 0), np.float64)
    index, inputs = attributes.get(GROUP_INDEX), attributes.get(INPUT_SCALE)
    return QuantizationParameters(
        scale,
        zero,
        attributes.get(QUANTIZED_AXIS),
        None if index is None else np.asarray(index, np.int64),
        tuple(attributes.get(GROUP_AXES, ())),
        None if inputs is None else np.asarray(inputs, np.float64),
    )


def large_arrays(attributes: Mapping[str, Any]) -> dict[str, Array]:
    """Return those of the attributes that are too large for an attribute, by name."""
    arrays = {name: np.asarray(attributes[name]) for name in ARRAYS if name in attributes}
    return {name: array for name, array in arrays.items() if array.nbytes > LARGEST_ARRAY_BYTES}


def place_of_array(name: str, group: str) -> str:
    """Return the group of the file that holds the large arrays of one kind of the tensors of `group`."""
    return f"quantization/{name}/{group}"
