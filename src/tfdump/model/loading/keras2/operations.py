"""The operations of TensorFlow in functional models of Keras 2 (`x * 2`, `tf.concat`), which Keras 3 lacks as nodes.

Keras 2 saved each of them as a layer of the class TFOpLambda, or SlicingOpLambda for `x[...]`, with the name of the
function and its arguments (`keras/src/layers/core/tf_op_layer.py` of Keras 2.15). This module calls only functions that
compute tensors from tensors.
"""

import operator
from collections.abc import Callable, Mapping
from typing import Any

import keras
import tensorflow as tf

from tfdump.errors import ModelError
from tfdump.model.error_text import first_line, raise_interruption
from tfdump.model.keras_internals import compute_output_spec

WAY_OUT = "(save the model from Keras 2 as a SavedModel directory instead)"

CONSTANT = "_CONSTANT_VALUE"
"""What replaces the name of a layer where the first argument is a value."""

_NAMESPACES = ("bitwise", "image", "linalg", "math", "nn", "signal", "strings")
"""Modules of TensorFlow in which every function only computes tensors."""

_FUNCTIONS_IN_WORDS = """
abs acos acosh add add_n argmax argmin argsort asin asinh atan atan2 atanh batch_to_space bitcast boolean_mask
broadcast_to cast ceil clip_by_norm clip_by_value complex concat cos cosh cumsum div div_no_nan divide edit_distance
einsum ensure_shape equal exp expand_dims extract_volume_patches eye fill fingerprint floor floor_div floordiv
floormod gather gather_nd greater greater_equal histogram_fixed_width identity identity_n less less_equal linspace
logical_and logical_not logical_or matmul maximum meshgrid minimum mod multiply negative norm not_equal one_hot ones
ones_like pad parallel_stack pow range rank realdiv reduce_all reduce_any reduce_logsumexp reduce_max reduce_mean
reduce_min reduce_prod reduce_sum repeat reshape reverse reverse_sequence roll round saturate_cast scalar_mul
searchsorted sequence_mask shape shape_n sigmoid sign sin sinh size slice sort space_to_batch space_to_batch_nd
split sqrt square squeeze stack stop_gradient strided_slice subtract tan tanh tensor_scatter_nd_add
tensor_scatter_nd_max tensor_scatter_nd_min tensor_scatter_nd_sub tensor_scatter_nd_update tensordot tile to_float
to_int32 to_int64 transpose truncatediv truncatemod unique unique_with_counts unstack where zeros zeros_like
"""
_FUNCTIONS = frozenset(_FUNCTIONS_IN_WORDS.split())
"""Functions at the top level of TensorFlow that only compute tensors."""

_RANDOM_IN_WORDS = """
categorical gamma normal poisson shuffle stateless_categorical stateless_normal stateless_truncated_normal
stateless_uniform truncated_normal uniform
"""
_RANDOM = frozenset(_RANDOM_IN_WORDS.split())
"""Functions of `tf.random` that draw random numbers."""

_OPERATORS: Mapping[str, Callable[..., Any]] = {
    "add": lambda x, y: x + y,
    "eq": lambda self, other: self == other,
    "getitem": lambda tensor, slice_spec: tensor[slice_spec],
    "ne": lambda self, other: self != other,
}
"""The functions of `tf.__operators__`, with their parameters."""


def function_of_tensorflow(name: object) -> Callable[..., Any]:
    """Return the function that a TFOpLambda names, such as `math.reduce_mean`.

    Raises ModelError for a function that may do more than compute tensors, and for an unknown one.
    """
    namespace, _, last = str(name).removeprefix("compat.v1.").rpartition(".")
    if namespace == "__operators__" and last in _OPERATORS:
        return _OPERATORS[last]
    inside = namespace in _NAMESPACES and last.isidentifier() and not last.startswith("_")
    fine = inside or last in {"": _FUNCTIONS, "random": _RANDOM}.get(namespace, ())
    try:
        function = operator.attrgetter(str(name))(tf) if fine else None
    except AttributeError:
        function = None
    if not callable(function) or isinstance(function, type):
        raise ModelError(f"Keras 2 saved the operation '{name}' as a TFOpLambda, which Keras 3 lacks {WAY_OUT}")
    return function  # type: ignore[no-any-return]  # a member of TensorFlow


class TFOpLambda(keras.Operation):  # type: ignore[misc]  # Keras has no types
    """A call of a function of TensorFlow as a node of a model."""

    def __init__(self, function: str, name: str | None = None) -> None:
        super().__init__(name=name)
        self.function = function
        self._call = function_of_tensorflow(function)

    def call(self, *args: Any, **kwargs: Any) -> Any:
        """Return the result of the function; a tensor among its arguments is returned as a copy."""
        result = self._call(*args, **kwargs)
        arguments = [id(value) for value in keras.tree.flatten((args, kwargs))]
        return keras.tree.map_structure(lambda one: tf.identity(one) if id(one) in arguments else one, result)

    def compute_output_spec(self, *args: Any, **kwargs: Any) -> Any:
        """Return the result for symbolic tensors; raises ModelError for arguments that the function does not take.

        Keras 2 loses some arguments: those after the first of `*args`, and the one for `self`.
        """
        try:
            return compute_output_spec(self.call, *args, **kwargs)
        except Exception as cause:
            raise_interruption(cause)
            raise ModelError(
                f"the operation '{self.function}' cannot be called as Keras 2 saved it: {first_line(cause)} {WAY_OUT}"
            ) from cause

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that create this node again."""
        return {"name": self.name, "function": self.function}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "TFOpLambda":
        """Return the node of a configuration of Keras 2, which has further keys."""
        return cls(config.get("function", ""), config.get("name"))


class SlicingOpLambda(TFOpLambda):
    """The node of `x[...]`, whose slices are dictionaries."""

    def call(self, *args: Any, **kwargs: Any) -> Any:
        """Return the slice of a tensor."""
        return super().call(*map(_with_slices, args), **{key: _with_slices(value) for key, value in kwargs.items()})


def _with_slices(value: Any) -> Any:
    """Return an index whose slices were saved as dictionaries."""
    if isinstance(value, Mapping):
        if value.get("class_name") == "__ellipsis__":
            return Ellipsis
        return slice(value.get("start"), value.get("stop"), value.get("step"))
    return tuple(map(_with_slices, value)) if isinstance(value, (list, tuple)) else value


OPERATIONS: Mapping[str, type[TFOpLambda]] = {"TFOpLambda": TFOpLambda, "SlicingOpLambda": SlicingOpLambda}
"""The nodes by the names of their classes in Keras 2."""
