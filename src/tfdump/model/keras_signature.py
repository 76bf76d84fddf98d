"""How a Keras model is called, as its graph, its build configuration and its `call` tell."""

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import keras
from keras import Layer, Sequential
from keras.layers import InputLayer

from tfdump.address import member_name
from tfdump.model.any_backend_internals import Functional
from tfdump.model.embeddings.keras_lookups import smallest_embedding, vocabulary_of_input
from tfdump.model.signature import Signature
from tfdump.tensors import InputSpec


def signature_of(model: Layer, array_names: Sequence[str | None]) -> Signature:
    """Return how `model` is called.

    Functional and sequential models define it themselves. A subclassed model has the arguments of its `call` and, if
    it was built, their shapes. Where that is not enough, the names of the user's arrays decide (None for no name).
    """
    own = getattr(model, "saved_signature", None)  # of a layer that wraps a SavedModel
    if isinstance(own, Signature):
        return own
    functional = model._functional if isinstance(model, Sequential) else model
    if isinstance(functional, Functional):
        return _of_graph(functional)
    return _of_call(model, array_names)


def training_argument(model: Layer, training: bool) -> dict[str, bool]:
    """Return the argument that sets the mode, empty where the model takes none."""
    return {"training": training} if getattr(model, "_call_has_training_arg", True) else {}


def float_dtype_of(model: Layer) -> str:
    """Return the dtype of floats for a model that does not declare one."""
    return "float64" if getattr(model, "compute_dtype", None) == "float64" else "float32"


def _of_graph(model: Functional) -> Signature:
    def name_of(tensor: Any) -> str:
        operation = tensor._keras_history.operation
        return str(operation.name if isinstance(operation, InputLayer) else tensor.name)

    def spec(tensor: Any) -> InputSpec:
        optional = bool(getattr(tensor._keras_history.operation, "optional", False))
        dtype = keras.backend.standardize_dtype(tensor.dtype)
        ids = vocabulary_of_input(model, tensor)
        return InputSpec(name_of(tensor), tuple(tensor.shape), dtype, optional, vocabulary=ids)

    structure = keras.tree.map_structure(name_of, model._inputs_struct)
    if isinstance(structure, (list, tuple)) and len(structure) == 1:
        structure = structure[0]
    return Signature(tuple(spec(tensor) for tensor in model.inputs), structure, declared=True)


def _of_call(model: Layer, array_names: Sequence[str | None]) -> Signature:
    """Return the signature of a subclassed model, from its build configuration and its `call`.

    An argument of `call` with a default is an optional input where the default is None or an array has its name.
    """
    arguments = _arguments_of(model, array_names)
    others, optional = list(array_names), list(arguments.optional)
    for name in [name for name in optional if name in others]:
        others.remove(name)
    base = _without_optional(model, arguments, others)
    optional = [name for name in optional if name not in {spec.name for spec in base.specs}]
    specs = tuple(InputSpec(name, None, None, optional=True) for name in optional)
    return replace(base, specs=base.specs + specs, keywords=tuple(optional))


def _without_optional(model: Layer, arguments: "_Arguments", array_names: Sequence[str | None]) -> Signature:
    """Return the signature without the optional inputs; `array_names` are the names of the other arrays."""
    required, first = arguments.required, arguments.first
    if not required and _collects_positional(model):
        names = [str(position) for position in range(max(1, len(array_names)))]
        return Signature(tuple(InputSpec(name, None, None) for name in names), names, declared=False, spread=True)
    shapes = _built_shapes(model)
    by_argument = {name.removesuffix("_shape"): shape for name, shape in shapes.items()}
    if len(shapes) == 1:
        by_argument = {first: next(iter(shapes.values()))}
    if by_argument and all(_is_shape(shape) for shape in by_argument.values()):
        names = list(dict.fromkeys([*by_argument, *required]))
        ids = smallest_embedding(model)
        specs = tuple(_spec(name, by_argument.get(name), ids) for name in names)
        structure = None if len(names) > 1 or _keyword_only(model, names[0]) else names[0]
        return Signature(specs, structure, declared=all(name in by_argument for name in names))
    if len(by_argument) == 1:
        return _of_nested_shapes(by_argument[first], smallest_embedding(model))
    return _of_arrays(arguments, array_names)


def _of_nested_shapes(shapes: Any, ids: int | None) -> Signature:
    """Return the signature for a first argument that is a dict or list of arrays, from their nested shapes.

    `ids` are the rows of the smallest embedding of the model.
    """
    leaves = dict(_shape_leaves(shapes, ()))

    def rebuild(node: Any, path: tuple[str | int, ...]) -> Any:
        if _is_shape(node):
            return member_name(path)
        if isinstance(node, Mapping):
            return {key: rebuild(value, (*path, key)) for key, value in node.items()}
        return [rebuild(value, (*path, position)) for position, value in enumerate(node)]

    specs = tuple(_spec(member_name(path), shape, ids) for path, shape in leaves.items())
    return Signature(specs, rebuild(shapes, ()), declared=True)


def _shape_leaves(node: Any, path: tuple[str | int, ...]) -> list[tuple[tuple[str | int, ...], Any]]:
    if _is_shape(node):
        return [(path, node)]
    items = node.items() if isinstance(node, Mapping) else enumerate(node)
    return [leaf for key, value in items for leaf in _shape_leaves(value, (*path, key))]


def _of_arrays(arguments: "_Arguments", array_names: Sequence[str | None]) -> Signature:
    """Return the signature of a model that declares nothing, from the names of the user's arrays."""
    named = [name for name in array_names if name is not None]
    required, first = arguments.required, arguments.first
    if len(required) > 1 and len(array_names) > 1 and set(named) <= set(required):
        return Signature(tuple(InputSpec(name, None, None) for name in required), None, declared=False)
    if named and len(named) == len(array_names) and (len(array_names) > 1 or named[0] != first):
        specs = tuple(InputSpec(name, None, None) for name in named)
        return Signature(specs, {name: name for name in named}, declared=False)
    if len(array_names) > 1 and (first == _NESTED or not arguments.optional):
        names = [str(position) for position in range(len(array_names))]
        return Signature(tuple(InputSpec(name, None, None) for name in names), names, declared=False)
    return Signature((InputSpec(first, None, None),), first, declared=False)


_NESTED = "inputs"
"""The name that Keras gives to the first argument of `call`; it may be a list of arrays, so it takes several files."""


@dataclass(frozen=True)
class _Arguments:
    """The arguments of a `call` that take data; the first of them may be nested."""

    first: str
    required: list[str]
    optional: list[str]


def _arguments_of(model: Layer, array_names: Sequence[str | None]) -> _Arguments:
    context = {"training", *getattr(model, "_call_context_args", ())}
    collecting = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    parameters = [
        p
        for p in inspect.signature(model.call).parameters.values()
        if p.kind not in collecting and p.name not in context
    ]
    required = [p.name for p in parameters if p.default is inspect.Parameter.empty]
    optional = [p.name for p in parameters if p.default is None or (p.name not in required and p.name in array_names)]
    if not required and optional and not _collects_positional(model):
        required, optional = optional[:1], optional[1:]
    return _Arguments(required[0] if required else _NESTED, required, optional)


def _collects_positional(model: Layer) -> bool:
    kinds = [p.kind for p in inspect.signature(model.call).parameters.values()]
    return inspect.Parameter.VAR_POSITIONAL in kinds


def _keyword_only(model: Layer, name: str) -> bool:
    return inspect.signature(model.call).parameters[name].kind is inspect.Parameter.KEYWORD_ONLY


def _built_shapes(model: Layer) -> dict[str, Any]:
    """Return the shapes that the model was built with, by argument; empty where it was not built."""
    shapes = dict(getattr(model, "_build_shapes_dict", None) or {})
    return {name: shape for name, shape in shapes.items() if shape is not None}


def _is_shape(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and all(size is None or isinstance(size, int) for size in value)


def _spec(name: str, built: Sequence[int | None] | None, ids: int | None) -> InputSpec:
    """Return the spec of an argument that was built with a shape: arrays must have its rank, but not its sizes.

    A model with embeddings, of which the smallest has `ids` rows, is supposed to read its sequences as ids.
    """
    if built is None:
        return InputSpec(name, None, None)
    vocabulary = ids if len(built) == 2 else None
    return InputSpec(name, (None,) * len(built), None, built=(None, *built[1:]), vocabulary=vocabulary)
