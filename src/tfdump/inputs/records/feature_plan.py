"""How a feature of records becomes the array of an input: what the spec, the model and the first record tell."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from tfdump.dtypes import STRING, kind_of, numpy_dtype
from tfdump.errors import InputError
from tfdump.inputs.records.feature_spec import FeatureSpec
from tfdump.inputs.records.protocol_buffers import Feature
from tfdump.tensors import Array, InputSpec


class FeatureError(Exception):
    """A feature of a record does not fit; the message goes on after the name of the record."""


@dataclass(frozen=True)
class FeaturePlan:
    """How the values of a feature become rows.

    Attributes
    ----------
    name : str
        Name of the feature.
    stored : str
        What the records hold: float32, int64 or string.
    dtype : numpy.dtype
        Dtype of the rows; that of an object for text.
    shape : tuple
        Shape of a row; None along the first axis for rows of different lengths.
    raw : bool
        Whether a row is the bytes of one string.
    default : value or None
        What a record without the feature has.
    """

    name: str
    stored: str
    dtype: np.dtype[Any]
    shape: tuple[int | None, ...]
    raw: bool = False
    default: Any = None

    @property
    def tail(self) -> tuple[int, ...]:
        """The sizes behind the first axis of a row."""
        return tuple(size for size in self.shape[1:] if size is not None)

    def values(self, feature: Feature | None) -> Array:
        """Return one row, of the shape of the plan; raises FeatureError where the feature does not fit."""
        if feature is None or not feature.kind:
            return self._missing(feature)
        if feature.kind != self.stored:
            raise FeatureError(f"holds {feature.kind} as feature '{self.name}', and not {self.stored}")
        values = self._decoded(feature.values) if self.raw else feature.values
        shape = self.shape
        if shape and shape[0] is None:
            step = math.prod(self.tail)
            if len(values) % step:
                raise FeatureError(f"has {len(values)} values in '{self.name}', which is no multiple of {step}")
            return values.reshape(-1, *self.tail)
        sizes = tuple(size or 0 for size in shape)
        if len(values) != math.prod(sizes):
            raise FeatureError(
                f"has {len(values)} values in '{self.name}', and the shape {sizes} takes {math.prod(sizes)} "
                '(for rows of different lengths: --features with "shape": [null])'
            )
        return values.reshape(sizes)

    def _decoded(self, values: Array) -> Array:
        """Return the numbers that one string holds, as `tf.io.decode_raw` does."""
        if len(values) != 1:
            raise FeatureError(f"has {len(values)} byte strings in '{self.name}', and one is decoded")
        data = values[0]
        if len(data) % self.dtype.itemsize:
            raise FeatureError(f"has {len(data)} bytes in '{self.name}', which are no whole {self.dtype} numbers")
        return np.frombuffer(data, self.dtype.newbyteorder("<")).astype(self.dtype, copy=False)

    def _missing(self, feature: Feature | None) -> Array:
        if self.shape and self.shape[0] is None:  # as `tf.io.VarLenFeature` reads it
            return np.empty((0, *self.tail), self.dtype)
        if self.default is None:
            verb = "lacks" if feature is None else "has no values in"
            raise FeatureError(f"{verb} the feature '{self.name}' (give a \"default\" in --features SPEC.json)")
        shape = tuple(size or 0 for size in self.shape)
        fill = self.default.encode() if isinstance(self.default, str) else self.default
        return np.full(shape, fill, self.dtype)


def plan_of(spec: FeatureSpec, feature: Feature, taker: InputSpec, where: str) -> FeaturePlan:
    """Return how a feature becomes rows for the input `taker`.

    `feature` are the values in the first record that has some, and `where` is that record, for messages. Raises
    InputError where what is known does not tell.
    """
    stored = feature.kind or spec.dtype or "float32"
    if spec.dtype is not None and spec.decode is None and spec.dtype != stored:
        raise InputError(f"{where} holds {stored} as feature '{spec.name}', and --features says {spec.dtype}")
    if spec.decode is not None and stored != STRING:
        raise InputError(f"{where} holds {stored} as feature '{spec.name}', which cannot be decoded (leave decode out)")
    declared = spec.shape
    if declared is None and (taker.shape or taker.built):
        declared = (taker.shape or taker.built or ())[1:]
    dtype, count = numpy_dtype(stored), len(feature.values)
    raw = stored == STRING and (spec.decode == "raw" or _takes_numbers(taker))
    if raw:
        dtype = np.dtype(spec.dtype) if spec.dtype and spec.decode else _raw_dtype(feature, declared, taker, spec.name)
        size = sum(map(len, feature.values))
        count = size // dtype.itemsize
    shape = _row_shape(declared, count, where, spec.name)
    _check_default(spec, stored)
    return FeaturePlan(spec.name, stored, dtype, shape, raw, spec.default)


def fits_shape(feature: Feature, taker: InputSpec) -> bool:
    """Tell whether the values of a feature are as many as an input takes that declares its whole shape."""
    if taker.shape is None or None in taker.shape[1:]:
        return False
    size, text = math.prod(filter(None, taker.shape[1:])), feature.kind == STRING
    if text and _takes_numbers(taker):
        sizes = (size, size * numpy_dtype(taker.dtype or "float32").itemsize)
        return len(feature.values) == 1 and len(feature.values[0]) in sizes
    same_kind = text != _takes_numbers(taker) and not (feature.kind == "float32" and kind_of(taker.dtype or "") in "iu")
    return len(feature.values) == size and same_kind


def _takes_numbers(taker: InputSpec) -> bool:
    return taker.dtype is not None and taker.dtype != STRING


def _raw_dtype(feature: Feature, declared: tuple[int | None, ...] | None, taker: InputSpec, name: str) -> np.dtype[Any]:
    """Return the dtype of raw bytes that fits the shape: uint8, or else that of the input; raises InputError."""
    size = sum(map(len, feature.values))
    for dtype in (np.dtype(np.uint8), numpy_dtype(taker.dtype or "float32")):
        if declared is not None and None not in declared and math.prod(filter(None, declared)) * dtype.itemsize == size:
            return dtype
    raise InputError(
        f"the feature '{name}' holds {size:,} bytes, and the input '{taker.name}' takes {taker.dtype} "
        f'{_shown(declared)} (tell what they are: --features with "decode": "raw" and "dtype")'
    )


def _row_shape(declared: tuple[int | None, ...] | None, count: int, where: str, name: str) -> tuple[int | None, ...]:
    if declared is None:
        return () if count == 1 else (count,)
    if None not in declared[1:]:
        return declared
    known = math.prod(filter(None, declared))
    if declared.count(None) > 1 or not known or count % known:
        raise InputError(
            f"{where} has {count} values in '{name}', and the model leaves their shape open: {_shown(declared)} "
            '(give it: --features with "shape")'
        )
    return tuple(count // known if size is None else size for size in declared)


def _check_default(spec: FeatureSpec, stored: str) -> None:
    if spec.default is not None and isinstance(spec.default, str) != (stored == STRING):
        raise InputError(f"--features: the default of '{spec.name}' does not fit, because records hold {stored}")
    if stored == "int64" and isinstance(spec.default, float) and not spec.default.is_integer():
        raise InputError(f"--features: the default of '{spec.name}' is no integer, and records hold int64")


def _shown(shape: tuple[int | None, ...] | None) -> str:
    return "values" if shape is None else "(" + ", ".join("?" if size is None else str(size) for size in shape) + ")"
