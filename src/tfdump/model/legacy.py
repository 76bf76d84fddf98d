"""Legacy HDF5 models: configurations that Keras 2 wrote, in words that Keras 3 understands."""

import inspect
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import h5py
import keras
from keras import Layer

from tfdump.errors import ModelError
from tfdump.model.keras_internals import (
    legacy_h5_format,
    object_registration,
    saving_options,
    saving_utils,
    serialization_lib,
)

_FORMER_ARGUMENTS: dict[str, tuple[Any, ...]] = {
    "time_major": (False,),
    "groups": (1,),
    "rng_type": ("stateful", None),
    "score_mode": ("dot",),  # still an argument; the loader takes the word for the function `dot`
    "softmax_robust_masking": (False,),
    "kernel_initializer": (...,),  # of separable convolutions, which have two of their own
    "kernel_regularizer": (None,),
    "kernel_constraint": (None,),
    "query_shape": (...,),
    "key_shape": (...,),
    "value_shape": (...,),
}
"""What layers of Keras 2 wrote and layers of Keras 3 do not take, and the values that may be left out (... for any)."""

_OPERATIONS = ("TFOpLambda", "SlicingOpLambda", "ClassMethod", "InstanceMethod", "InstanceProperty")
"""Layers by which Keras 2 saved what a functional model does with TensorFlow itself."""

_ELSEWHERE = "(save the model from Keras 2 as a SavedModel directory instead)"
_HARD_SIGMOID = "keras_2_hard_sigmoid"
_STILL_TAKEN = ("score_mode",)


def load_hdf5(path: Path, config: Mapping[str, Any], custom: Mapping[str, Any], *, safe_mode: bool) -> Layer:
    """Return the model of a legacy HDF5 file, uncompiled; `config` is its architecture, which is changed.

    Raises what Keras raises, and ModelError for what only Keras 2 could do.
    """
    known = {_HARD_SIGMOID: _hard_sigmoid, **custom, **object_registration.GLOBAL_CUSTOM_OBJECTS}
    legacy = saving_options.keras_option_scope(use_legacy_config=True)
    with legacy, serialization_lib.SafeModeScope(safe_mode), h5py.File(path, "r") as file:
        old = str(file.attrs.get("keras_version", "2")).startswith(("1.", "2"))
        for item in _objects(config):
            _modernise(item, old)
        model = saving_utils.model_from_config(config, custom_objects=known)
        weights = legacy_h5_format.safe_get_h5_group(file, "model_weights")
        legacy_h5_format.load_weights_from_hdf5_group(weights, model)
    return model


def _hard_sigmoid(x: Any) -> Any:
    """Return what Keras 2 called `hard_sigmoid`; that of Keras 3 is steeper on a shorter range, relu6(x + 3) / 6."""
    return keras.ops.clip(0.2 * x + 0.5, 0.0, 1.0)


def _objects(config: Any) -> Iterator[dict[str, Any]]:
    """Yield every serialised object of a configuration, outer ones first."""
    if isinstance(config, dict):
        if isinstance(config.get("config"), dict) and isinstance(config.get("class_name"), str):
            yield config
        for value in config.values():
            yield from _objects(value)
    elif isinstance(config, list):
        for value in config:
            yield from _objects(value)


def _modernise(item: dict[str, Any], old: bool) -> None:
    """Change one serialised object to what Keras 3 takes; `old` tells that Keras 2 wrote it."""
    config, name = item["config"], item["class_name"]
    if name in _OPERATIONS:
        operation = config.get("function", config.get("name"))
        raise ModelError(f"Keras 2 saved the operation '{operation}' as a {name}, which Keras 3 lacks {_ELSEWHERE}")
    known = getattr(keras.layers, name, None)
    taken = inspect.signature(known.__init__).parameters if inspect.isclass(known) else {}
    for argument, values in _FORMER_ARGUMENTS.items():
        if known is None or argument not in config or (argument in taken and argument not in _STILL_TAKEN):
            continue
        if values == (...,) or config[argument] in values:
            del config[argument]
        elif argument not in taken:
            where = config.get("name", name)
            raise ModelError(
                f"layer '{where}' ({name}) has {argument}={config[argument]}, which Keras 3 cannot do {_ELSEWHERE}"
            )
    for argument in ("activation", "recurrent_activation"):
        if old and config.get(argument) == "hard_sigmoid":
            config[argument] = _HARD_SIGMOID
    policy = config.get("dtype")
    if isinstance(policy, dict) and str(policy.get("class_name")).startswith("Policy"):
        config["dtype"] = policy["config"]["name"]
    if isinstance(config.get("layers"), list) and "input_layers" in config:
        _renumber(config)
        names = {layer.get("name") for layer in config["layers"]}
        for layer in config["layers"]:
            layer["inbound_nodes"] = [_node(node, names) for node in layer.get("inbound_nodes", [])]
        for ends in ("input_layers", "output_layers"):  # a single tensor was no list of one
            if old and len(config[ends]) == 1 and isinstance(config[ends], list):
                config[ends] = config[ends][0]


def _renumber(graph: dict[str, Any]) -> None:
    """Count the calls of inner Sequential models from 0: in Keras 2 their first was the one that built them."""
    references = list(_references([graph["input_layers"], graph["output_layers"]]))
    for layer in graph["layers"]:
        references += _references(layer.get("inbound_nodes", []))
    for layer in graph["layers"]:
        own = [reference for reference in references if reference[0] == layer.get("name")]
        surplus = max((reference[1] for reference in own), default=-1) + 1 - len(layer.get("inbound_nodes", []))
        if layer.get("class_name") == "Sequential" and surplus > 0:
            for reference in own:
                reference[1] -= surplus


def _references(value: Any) -> Iterator[list[Any]]:
    """Yield every `[layer, call, output, ...]` in a structure."""
    if isinstance(value, dict):
        value = list(value.values())
    if not isinstance(value, list):
        return
    if len(value) >= 3 and isinstance(value[0], str) and all(type(number) is int for number in value[1:3]):
        yield value
    for inner in value:
        yield from _references(inner)


def _node(node: Any, names: set[Any]) -> Any:
    """Return a call of a layer in the words of Keras 3 where tensors are keyword arguments: its loader drops those."""
    if not isinstance(node, list) or not node or not all(isinstance(tensor, list) for tensor in node):
        return node
    options = node[-1][3] if len(node[-1]) > 3 else {}

    def revived(value: Any) -> Any:
        if value in _references(value) and value[0] in names:
            history = {"shape": [None], "dtype": "float32", "keras_history": value[:3]}
            return {"class_name": "__keras_tensor__", "config": history}
        if isinstance(value, list):
            return [revived(inner) for inner in value]
        return {key: revived(inner) for key, inner in value.items()} if isinstance(value, dict) else value

    keywords = revived(options)
    if keywords == options:
        return node
    tensors = [revived(tensor[:3]) for tensor in node]
    return {"args": [tensors[0] if len(tensors) == 1 else tensors], "kwargs": keywords}
