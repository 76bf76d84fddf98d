"""Configurations that Keras 2 wrote, translated for Keras 3."""

import inspect
from collections.abc import Iterator
from typing import Any

import keras

from tfdump.errors import ModelError
from tfdump.model.loading.keras2.operations import CONSTANT, OPERATIONS, WAY_OUT, function_of_tensorflow

_FORMER_ARGUMENTS: dict[str, tuple[Any, ...]] = {
    "time_major": (False,),
    "groups": (1,),
    "rng_type": ("stateful", None),
    "score_mode": ("dot",),  # still an argument; the loader mistakes the string for the function `dot`
    "softmax_robust_masking": (False,),
    "kernel_initializer": (...,),  # of separable convolutions, which have one per kernel
    "kernel_regularizer": (None,),
    "kernel_constraint": (None,),
    "query_shape": (...,),
    "key_shape": (...,),
    "noise_shape": (None,),
    "value_shape": (...,),
}
"""Arguments that Keras 2 wrote and Keras 3 rejects, with the values that may be dropped (... for any)."""

_UNTRANSLATED = ("ClassMethod", "InstanceMethod", "InstanceProperty")
"""Layers by which Keras 2 saved calls of methods of TensorFlow objects in a functional model."""

_ADDING = ("AddLoss", "AddMetric")
"""Layers by which Keras 2 saved `add_loss` and `add_metric` of a functional model; they lead to no output."""

HARD_SIGMOID = "keras_2_hard_sigmoid"
"""The name of the `hard_sigmoid` of Keras 2, which differs from that of Keras 3."""

_RECURRENT = ("Bidirectional", "ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D", "GRU", "LSTM", "RNN", "SimpleRNN")
"""Layers whose initial states Keras 2 wrote after their input."""

_CONVERTING = ("keras.src.layers.preprocessing", "keras.src.layers.core.embedding", "keras.src.layers.core.input_layer")
"""Modules of layers whose dtype is that of their input, weights or output, in Keras 2 as in Keras 3."""

_STILL_ARGUMENTS = ("score_mode",)
_KERAS = ("keras", "tf_keras")
_WRITTEN_BESIDE = ("module", "registered_name", "build_config", "compile_config")
"""The keys of an object in an archive that a legacy file does not have."""


def modernize(config: dict[str, Any], old: bool) -> None:
    """Translate a configuration for Keras 3, in place; `old` tells that Keras 2 wrote it.

    Raises ModelError for features that only Keras 2 has.
    """
    for item in list(_objects(config)):
        _modernize(item, old)


def adds_losses(config: Any) -> bool:
    """Tell whether a model of Keras 2 added losses with `add_loss`, which are not translated."""
    return any(item["class_name"] == "AddLoss" for item in _objects(config))


def without_modules(config: Any) -> None:
    """Change the parts of Keras in a configuration of a Keras 2 archive to the form of a legacy file, in place.

    The layers of a model lose their modules, and other parts of Keras get the modules of Keras 3. Custom objects keep
    their modules, and so does everything inside them.
    """
    waiting: list[tuple[Any, bool, bool]] = [(config, True, False)]
    while waiting:
        node, listed, inside = waiting.pop()
        if isinstance(node, dict):
            if isinstance(node.get("class_name"), str) and isinstance(node.get("config"), dict):
                inside = inside or not _without_module(node, listed and not inside)
            for key, value in node.items():
                if key == "layers" and isinstance(value, list):
                    waiting.extend((layer, True, inside) for layer in value)
                else:
                    waiting.append((value, False, inside))
        elif isinstance(node, list):
            waiting.extend((value, False, inside) for value in node)


def _without_module(item: dict[str, Any], drop: bool) -> bool:
    """Drop or translate the module of an object; return whether the object is part of Keras."""
    module = item.get("module", _KERAS[0])
    package, _, path = module.partition(".") if isinstance(module, str) else ("", "", "")
    if package not in _KERAS:
        return False
    if drop:
        for key in _WRITTEN_BESIDE:
            item.pop(key, None)
    elif "module" in item:
        item.pop("build_config", None)
        item.update(module=_home(item["class_name"], path), registered_name=None)
    return True


def _home(name: str, path: str) -> str:
    """Return the module of a class in Keras 3; `path` is its module in Keras 2, without `keras`."""
    if name in vars(keras.layers):
        return "keras.layers"
    if name == "Functional":
        return "keras.src.models.functional"
    return f"keras.{path}" if path else "keras"


def _objects(config: Any) -> Iterator[dict[str, Any]]:
    """Yield every serialized object of a configuration, outer ones first."""
    if isinstance(config, dict):
        if isinstance(config.get("config"), dict) and isinstance(config.get("class_name"), str):
            yield config
        for value in config.values():
            yield from _objects(value)
    elif isinstance(config, list):
        for value in config:
            yield from _objects(value)


def _modernize(item: dict[str, Any], old: bool) -> None:
    """Translate one serialized object for Keras 3; `old` tells that Keras 2 wrote it."""
    config, name = item["config"], item["class_name"]
    if name in OPERATIONS and "function" in config:
        function_of_tensorflow(config["function"])
        return
    if name in (*OPERATIONS, *_UNTRANSLATED):
        operation = config.get("function", config.get("name"))
        raise ModelError(f"Keras 2 saved the operation '{operation}' as a {name}, which Keras 3 lacks {WAY_OUT}")
    if "module" not in item and name in vars(keras.layers) and len(_axes(config)) > 1:
        item.update(module="keras.layers", registered_name=None)  # the legacy loader would drop them
    if item.get("module") == "keras.layers":
        _modernize_shapes(config, name == "InputLayer")
    if item.get("module", "keras.layers") in ("keras", "keras.layers"):
        _modernize_arguments(config, name)
    for argument in ("activation", "recurrent_activation"):
        if old and config.get(argument) == "hard_sigmoid":
            config[argument] = HARD_SIGMOID
    _modernize_dtype(config, name, old)
    if isinstance(config.get("layers"), list):
        for later in config["layers"][
            1:
        ]:  # only an input, or the first layer of an old Sequential model, needs a shape
            if later.get("class_name") != "InputLayer":
                later["config"].pop("batch_input_shape", None)
        if "input_layers" in config:
            _modernize_graph(config, old)


def _modernize_dtype(config: dict[str, Any], name: str, old: bool) -> None:
    """Translate the dtype of a layer; drop an integer dtype, which Keras 2 ignored and by which Keras 3 would round."""
    dtype = config.get("dtype")
    if isinstance(dtype, dict) and str(dtype.get("class_name")).startswith("Policy"):
        config["dtype"] = dtype = dtype["config"]["name"]
    layer = vars(keras.layers).get(name)
    of_integers = isinstance(dtype, str) and dtype.startswith(("int", "uint", "bool"))
    converts = name != "Discretization" and getattr(layer, "__module__", "").startswith(_CONVERTING)
    if old and layer is not None and of_integers and not converts:
        del config["dtype"]


def _axes(config: dict[str, Any]) -> list[Any]:
    axis = config.get("axis")
    return axis if isinstance(axis, list) else []


def _modernize_shapes(config: dict[str, Any], is_input: bool) -> None:
    """Make the changes that the legacy loader of Keras 3 makes to a layer without a module."""
    shape = config.pop("batch_input_shape", None)
    if shape is not None and is_input:
        config["batch_shape"] = shape
    if len(_axes(config)) == 1:
        config["axis"] = config["axis"][0]


def _modernize_arguments(config: dict[str, Any], name: str) -> None:
    """Translate the arguments of a layer of Keras; raises ModelError for those that only Keras 2 supports."""
    known = getattr(keras.layers, name, None)
    parameters = inspect.signature(known.__init__).parameters if inspect.isclass(known) else {}
    for argument, values in _FORMER_ARGUMENTS.items():
        if known is None or argument not in config or (argument in parameters and argument not in _STILL_ARGUMENTS):
            continue
        if values == (...,) or config[argument] in values:
            del config[argument]
        elif argument not in parameters:
            where = config.get("name", name)
            raise ModelError(
                f"layer '{where}' ({name}) has {argument}={config[argument]}, which Keras 3 does not support {WAY_OUT}"
            )
    if "trainable" in config and parameters and not {"trainable", "kwargs"} & set(parameters):
        del config["trainable"]
    for part in _parts(config):  # before Keras 2.13, these had no module
        if "module" not in part and isinstance(part.get("class_name"), str):
            of_keras = part["class_name"] in vars(keras.layers)
            part["module"] = _home(part["class_name"], "") if of_keras else None
            part["registered_name"] = None if of_keras else part["class_name"]


def _parts(config: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the layers and cells that a layer of Keras wraps."""
    for argument in ("layer", "backward_layer", "cell", "cells"):
        value = config.get(argument)
        for part in value if isinstance(value, list) else [value]:
            if isinstance(part, dict):
                yield part


def _modernize_graph(graph: dict[str, Any], old: bool) -> None:
    """Translate the calls of the layers of a functional model; drop layers that only add losses and metrics."""
    graph["layers"] = [layer for layer in graph["layers"] if layer.get("class_name") not in _ADDING]
    _renumber(graph, old)
    names = {layer.get("name") for layer in graph["layers"]}
    for layer in graph["layers"]:
        layer["inbound_nodes"] = [_call(node, layer, names) for node in layer.get("inbound_nodes", [])]
    for ends in ("input_layers", "output_layers"):  # a single tensor was not a list
        if old and len(graph[ends]) == 1 and isinstance(graph[ends], list):
            graph[ends] = graph[ends][0]


def _renumber(graph: dict[str, Any], old: bool) -> None:
    """Number the calls of inner models from 0: in Keras 2, the first call of most of them was the one that built them.

    Where outputs of a functional inner model are outputs of the outer model, their numbers still start at 1.
    """
    calls = [reference for layer in graph["layers"] for reference in _references(layer.get("inbound_nodes", []))]
    ends = list(_references([graph["input_layers"], graph["output_layers"]]))
    for layer in graph["layers"]:
        kind, name = layer.get("class_name"), layer.get("name")
        own = [reference for reference in (*calls, *ends) if reference[0] == name]
        surplus = max((reference[1] for reference in own), default=-1) + 1 - len(layer.get("inbound_nodes", []))
        if surplus <= 0 or kind not in ("Sequential", "Functional", "Model"):
            continue
        functional = kind != "Sequential"
        for reference in calls if functional else (*calls, *ends):
            if reference[0] == name and (old or not functional):
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


def _call(node: Any, layer: dict[str, Any], names: set[Any]) -> Any:
    """Return a call of a layer in the form of Keras 3, if its loader would drop something from that of Keras 2."""
    if layer.get("class_name") in OPERATIONS or (isinstance(node, dict) and "args" not in node):
        return _call_of_structure(node, names, layer.get("name"))
    if not isinstance(node, list) or not node or not all(isinstance(tensor, list) and tensor for tensor in node):
        return node
    options = node[-1][3] if len(node[-1]) > 3 else {}
    keywords = _with_tensors(options, names)
    tensors = [_with_tensors(tensor[:3], names) for tensor in node]
    if layer.get("class_name") in _RECURRENT and len(tensors) > 1:
        if keywords.pop("constants", None) or layer["config"].get("num_constants"):
            raise ModelError(f"layer '{layer.get('name')}' takes constants, which Keras 3 cannot pass on {WAY_OUT}")
        return {"args": tensors[:1], "kwargs": {**keywords, "initial_state": tensors[1:]}}
    if keywords == options:
        return node
    return {"args": [tensors[0] if len(tensors) == 1 else tensors], "kwargs": keywords}


def _call_of_structure(node: Any, names: set[Any], what: Any) -> Any:
    """Return a call whose first argument is a tensor, or a structure of tensors and values, in the form of Keras 3.

    In the form of Keras 2, each tensor is followed by the other arguments.
    """
    keywords: dict[str, Any] = {}

    def first(value: Any) -> Any:
        if isinstance(value, list) and len(value) >= 3 and isinstance(value[0], str) and type(value[1]) is int:
            if len(value) > 3 and isinstance(value[3], dict):
                keywords.update(value[3])
            return value[2] if value[0] == CONSTANT else _with_tensors(value[:3], names)
        if isinstance(value, dict):
            return {key: first(inner) for key, inner in value.items()}
        return [first(inner) for inner in value] if isinstance(value, list) else value

    argument = first(node)
    others = _with_tensors({key: value for key, value in keywords.items() if key != "name"}, names)
    if not any(item["class_name"] == "__keras_tensor__" for item in _objects([argument, others])):
        raise ModelError(f"Keras 2 saved a call of '{what}' without the tensors that it takes {WAY_OUT}")
    return {"args": [argument], "kwargs": others}


def _with_tensors(value: Any, names: set[Any]) -> Any:
    """Return arguments of a call with each `[layer, call, output]` replaced by a tensor in the form of Keras 3."""
    if value in _references(value) and value[0] in names:
        history = {"shape": [None], "dtype": "float32", "keras_history": value[:3]}
        return {"class_name": "__keras_tensor__", "config": history}
    if isinstance(value, list):
        return [_with_tensors(inner, names) for inner in value]
    return {key: _with_tensors(inner, names) for key, inner in value.items()} if isinstance(value, dict) else value
