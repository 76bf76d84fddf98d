"""A part of a functional or Sequential Keras model, with the configurations and the weights of its layers.

The graph is read from the configuration of the model, in which each call of a layer is an inbound node and each tensor
is a `keras_history`: the name of the layer, the number of the call, and that of the output.
"""

import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import keras

from tfdump.address import decode, split
from tfdump.dump.layout import INPUTS
from tfdump.model.any_backend_internals import Functional, serialization_lib
from tfdump.model.cutting.records import PartInput, UncutModel
from tfdump.model.error_text import first_line

_History = tuple[str, int, int]
"""The tensor of a graph: name of the layer, number of the call, number of the output."""

_Reads = Mapping[str, Sequence[str] | None]
"""What each layer call of the model reads, by address."""

_REFUSALS = (ValueError, TypeError, KeyError, AttributeError, IndexError, NotImplementedError, RuntimeError)
"""The errors of layers that do not have the configuration that makes them again."""

_TENSOR = "__keras_tensor__"


def cut_keras(
    model: Any, inputs: Sequence[PartInput], target: str, reads: _Reads, custom: Mapping[str, Any], *, safe_mode: bool
) -> Any:
    """Return the part of a model that computes a tensor from others, as a functional model.

    Parameters
    ----------
    model : keras.Model
        The model, which stays as it is.
    inputs : sequence of PartInput
        The inputs of the part.
    target : str
        Address of the activation that becomes the output.
    reads : mapping of str to sequence of str
        Addresses of the tensors that each layer call reads, by its own address.
    custom : mapping of str to object
        Classes and functions of the user.
    safe_mode : bool
        Whether Keras refuses layers that contain code.

    Returns
    -------
    keras.Model
        New layers with the same names, configurations and weights.

    Raises
    ------
    UncutModel
        Where the layer is not part of a graph, where it needs more than the inputs, or where a layer cannot be made
        again from its configuration.

    """
    if any(one.order is not None for one in inputs):
        raise UncutModel("its inputs have another order of axes")
    *containers, last = split(target)[0].split(".")
    graph = _graph_at(model, containers)
    outer = ".".join(containers)
    stops = {_history(one.source, outer, graph, reads): one for one in inputs}
    suffix = split(target)[1]
    wanted = (*_call(last), _output_number(suffix, target))
    try:
        config = graph.get_config()
        part_config = _part_config(config, stops, wanted)
        classes = {type(layer).__name__: type(layer) for layer in graph.layers}
        with serialization_lib.SafeModeScope(safe_mode), keras.utils.custom_object_scope({**classes, **custom}):
            part = Functional.from_config(part_config)
        for layer in part.layers:
            if layer.weights:
                layer.set_weights(graph.get_layer(layer.name).get_weights())
    except _REFUSALS as cause:
        raise UncutModel(f"Keras cannot make it from its configuration: {first_line(cause)}") from cause
    return part


def _graph_at(model: Any, containers: Sequence[str]) -> Any:
    """Return the graph of the model, or of the model inside of it, that has the layer."""
    graph, place = _functional(model, "the model"), ""
    for segment in containers:
        place = f"{place}.{segment}".strip(".")
        name, _ = _call(segment)
        layer = next((layer for layer in graph.layers if layer.name == name), None)
        graph = _functional(layer, place)
    return graph


def _functional(model: Any, what: str) -> Any:
    if isinstance(model, keras.Sequential) and model.built:
        return keras.Model(model.inputs, model.outputs, name=model.name)
    if isinstance(model, Functional) and type(model).call is Functional.call:
        return model
    raise UncutModel(f"{what} is no functional or Sequential model, so its graph cannot be cut")


def _call(segment: str) -> tuple[str, int]:
    """Return the name of a layer and the number of its call."""
    name, _, call = segment.partition("@")
    if "~" in name:
        raise UncutModel(f"'{segment}' is one of several layers of this name")
    return decode(name), int(call or 0)


def _output_number(suffix: str, address: str) -> int:
    if suffix and not suffix.isdigit():
        raise UncutModel(f"'{address}' is no output of its layer by number")
    return int(suffix or 0)


def _history(source: str, outer: str, graph: Any, reads: _Reads) -> _History:
    """Return the tensor of a graph that an address stands for; one from outside is an input of the graph."""
    names = [tensor.name for tensor in graph.inputs]
    inside = source.removeprefix(f"{INPUTS}/")
    if not outer and inside != source:
        return decode(inside), 0, 0
    prefix = f"{outer}." if outer else ""
    layer, suffix = split(source)
    if layer.startswith(prefix) and "." not in layer[len(prefix) :]:
        return (*_call(layer[len(prefix) :]), _output_number(suffix, source))
    around = list(reads.get(outer) or ())
    if source not in around or len(around) != len(names):
        raise UncutModel(f"'{source}' is no input of '{outer}'")
    return str(names[around.index(source)]), 0, 0


def _part_config(config: Mapping[str, Any], stops: Mapping[_History, PartInput], wanted: _History) -> dict[str, Any]:
    """Return the configuration of the part, from that of the graph."""
    entries = {entry["name"]: entry for entry in config["layers"]}
    nodes: dict[str, set[int]] = {}
    waiting = [wanted]
    while waiting:
        name, call, output = waiting.pop()
        if (name, call, output) in stops or call in nodes.get(name, ()):
            continue
        inbound = entries[name]["inbound_nodes"]
        if not inbound:
            raise UncutModel(f"it also reads '{name}'")
        nodes.setdefault(name, set()).add(call)
        waiting += _tensors_in(inbound[call])
    names = {history: _free(one.name, nodes) for history, one in stops.items()}
    layers = [_input_layer(names[history], one) for history, one in stops.items()]
    for name, entry in entries.items():
        if name in nodes:
            inbound = [_renumbered(entry["inbound_nodes"][call], nodes, names) for call in sorted(nodes[name])]
            layers.append({**entry, "inbound_nodes": inbound})
    places = [[name, 0, 0] for name in names.values()]
    return {
        "name": config["name"],
        "trainable": True,
        "layers": layers,
        "input_layers": places[0] if len(places) == 1 else places,
        "output_layers": list(_moved(wanted, nodes, names)),
    }


def _free(name: str, nodes: Mapping[str, set[int]]) -> str:
    if name in nodes:
        raise UncutModel(f"a layer of it is called '{name}', as one of its inputs")
    return name


def _input_layer(name: str, one: PartInput) -> dict[str, Any]:
    config = {"batch_shape": list(one.shape), "dtype": one.dtype, "sparse": False, "name": name}
    return {"module": "keras.layers", "class_name": "InputLayer", "config": config, "name": name, "inbound_nodes": []}


def _is_tensor(value: Any) -> bool:
    return isinstance(value, dict) and value.get("class_name") == _TENSOR


def _tensors_in(value: Any) -> Iterator[_History]:
    """Yield the tensors among the arguments of a call."""
    if _is_tensor(value):
        name, call, output = value["config"]["keras_history"]
        yield name, call, output
    elif isinstance(value, (dict, list, tuple)):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _tensors_in(inner)


def _renumbered(value: Any, nodes: Mapping[str, set[int]], names: Mapping[_History, str]) -> Any:
    """Return the arguments of a call with the tensors of the part in the place of those of the model."""
    if _is_tensor(value):
        changed = copy.deepcopy(value)
        name, call, output = value["config"]["keras_history"]
        changed["config"]["keras_history"] = list(_moved((name, call, output), nodes, names))
        return changed
    if isinstance(value, dict):
        return {key: _renumbered(inner, nodes, names) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_renumbered(inner, nodes, names) for inner in value]
    return value


def _moved(history: _History, nodes: Mapping[str, set[int]], names: Mapping[_History, str]) -> _History:
    if history in names:
        return names[history], 0, 0
    name, call, output = history
    return name, sorted(nodes[name]).index(call), output
