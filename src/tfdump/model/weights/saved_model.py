"""The weights of a SavedModel: the variables of its checkpoint, under the layers whose operations read them.

The graph is read as data. Neither it nor anything else in the folder is run, so no trust in its author is needed.
"""

import json
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError

from tfdump.errors import ModelError
from tfdump.files.limits import allowed_bytes, check_bytes
from tfdump.model.error_text import first_line
from tfdump.model.file_signatures import choose_signature
from tfdump.model.loading.formats import SAVED_MODEL
from tfdump.model.operations.owners import Owner
from tfdump.model.operations.scopes import Scopes
from tfdump.model.runnable import FixedModel
from tfdump.model.saved_model.files import serving_graph, signature_names
from tfdump.model.saved_model.inlining import inlined
from tfdump.model.tensorflow_internals import TrackableObjectGraph, function_def_to_graph_def
from tfdump.model.weights.graph_constants import GraphConstant, constant_weights, layer_address
from tfdump.model.weights.records import ModelWeights, WeightRequest
from tfdump.tensors import Array, Note

_OBJECTS = "_CHECKPOINTABLE_OBJECT_GRAPH"
_TRAINABLE, _FROZEN, _COPIES = "trainable_variables", "non_trainable_variables", "_all_variables"
"""The lists of variables of a model that Keras exported; the last one holds copies of them."""

_NOT_WEIGHTS = ("optimizer", "keras_api", "_optimizer", "metrics", "_metrics")
_RANDOM = "seed_generator"

_DAMAGE = (tf.errors.OpError, RuntimeError, ValueError, LookupError, DecodeError)
"""What TensorFlow raises where a checkpoint is damaged."""


class SavedModelWeights(FixedModel):
    """The variables of a SavedModel, as the signature reads them."""

    class_name = SAVED_MODEL
    in_words = "a SavedModel"
    computes = False
    files: tuple[Path, ...] = ()

    def __init__(self, path: Path, signature: str | None) -> None:
        self._path = path
        self._graph = serving_graph(path)
        names = signature_names(self._graph)
        self._signature = choose_signature(names, signature, path)
        self.config = json.dumps({"format": SAVED_MODEL, "signature": self._signature or None, "signatures": names})

    def model_weights(self, request: WeightRequest, note: Note) -> ModelWeights:
        """Return the variables, raw: a SavedModel does not tell which integers stand for real numbers."""
        return constant_weights(self._constants(), request, self.in_words, note, self._path.name)

    def _constants(self) -> Iterator[GraphConstant]:
        try:
            reader = tf.train.load_checkpoint(str(self._path / "variables" / "variables"))
            shapes, dtypes = reader.get_variable_to_shape_map(), reader.get_variable_to_dtype_map()
            sizes = (np.prod(shape, dtype=np.float64) * dtypes[key].size for key, shape in shapes.items())
            check_bytes(int(sum(sizes)), allowed_bytes(), f"the variables of {self._path} take", ModelError)
            keys = self._keys(reader) if _OBJECTS in shapes else {}
        except _DAMAGE as cause:
            raise ModelError(f"the variables of {self._path} are damaged: {first_line(cause)}") from cause
        if not keys:  # a graph of TensorFlow 1: the keys are the names of the variables
            for key in sorted(shapes):
                yield _variable(key, "", "", "", dtypes[key].name, shapes[key], partial(self._read, reader, key), None)
            return
        nodes = self._graph.object_graph_def.nodes
        readers, trainable = self._readers(), self._trainable()
        places = {number: place for place, number in enumerate(readers)}
        layers = {number: reading[0] for number, reading in readers.items()}
        first = {layer: place for place, layer in reversed([*enumerate(layers.values())])}
        last = len(first) + len(places)
        ordered = sorted(keys, key=lambda number: (first.get(layers.get(number, ""), last), number))
        for number in ordered:
            name, key = str(nodes[number].variable.name), keys[number]
            layer, kind = readers.get(number, ("", ""))
            learned = bool(nodes[number].variable.trainable) if trainable is None else number in trainable
            values = partial(self._read, reader, key)
            yield _variable(name, layer, _inside(name, layer), kind, dtypes[key].name, shapes[key], values, learned)

    def _read(self, reader: Any, key: str) -> Array:
        try:
            return np.asarray(reader.get_tensor(key))
        except _DAMAGE as cause:
            raise ModelError(f"the variables of {self._path} are damaged: {first_line(cause)}") from cause

    def _keys(self, reader: Any) -> dict[int, str]:
        """Return the keys in the checkpoint of the variables, by the numbers of their objects in the graph."""
        stored = TrackableObjectGraph.FromString(reader.get_tensor(_OBJECTS)).nodes
        nodes = self._graph.object_graph_def.nodes
        keys: dict[int, str] = {}
        waiting, visited = [(0, 0)], {0}
        exported = {child.local_name for child in nodes[0].children} >= {"variables", _COPIES}
        while waiting:
            number, twin = waiting.pop(0)
            key = next((str(a.checkpoint_key) for a in stored[twin].attributes if a.name == "VARIABLE_VALUE"), None)
            if nodes[number].HasField("variable") and key is not None and not _is_random(nodes[number].variable.name):
                keys[number] = key
            twins = {child.local_name: child.node_id for child in stored[twin].children}
            for child in nodes[number].children:
                copies = exported and number == 0 and child.local_name == _COPIES
                if child.local_name not in twins or child.node_id in visited or copies:
                    continue
                if child.local_name not in _NOT_WEIGHTS:
                    visited.add(child.node_id)
                    waiting.append((child.node_id, twins[child.local_name]))
        return keys

    def _trainable(self) -> set[int] | None:
        """Return the numbers of the variables that training changes, None where the variables themselves tell it."""
        nodes = self._graph.object_graph_def.nodes
        lists = {child.local_name: child.node_id for child in nodes[0].children}
        if not {_TRAINABLE, _FROZEN} <= set(lists):
            return None
        return {child.node_id for child in nodes[lists[_TRAINABLE]].children}

    def _readers(self) -> dict[int, tuple[str, str]]:
        """Return the layer and the operation that reads each variable of the signature, in the order of the graph."""
        objects = self._graph.object_graph_def
        name = self._function_name()
        library = self._graph.graph_def.library
        body = next((function for function in library.function if function.signature.name == name), None)
        if name not in objects.concrete_functions or body is None:
            return {}
        bound = list(objects.concrete_functions[name].bound_inputs)
        arguments = [argument.name for argument in body.signature.input_arg][-len(bound) :] if bound else []
        nodes = _nodes_of(body, library, self._graph.graph_def.versions)
        variables = dict(zip(arguments, bound, strict=False))
        names = [str(objects.nodes[number].variable.name) for number in bound]
        known = frozenset(name.partition("/")[0] for name in names if "/" in name)
        scopes = Scopes([node.name for node in nodes if node.op != "Placeholder"], known)
        behind = _readers_of(nodes)
        found: dict[int, tuple[str, str]] = {}
        for node in nodes:
            for read in node.input:
                number = variables.get(read)
                if number is None or number in found:
                    continue
                users = behind.get(node.name, []) if node.op == "ReadVariableOp" else [node.op]
                found[number] = layer_address(Owner(scopes.place(node.name).layers)), next(iter(users), "")
        return found

    def _function_name(self) -> str:
        """Return the name of the function of the signature in the library."""
        nodes = self._graph.object_graph_def.nodes
        children = {child.local_name: child.node_id for child in nodes[0].children} if nodes else {}
        inner = nodes[children["signatures"]].children if "signatures" in children else ()
        place = next((child.node_id for child in inner if child.local_name == self._signature), None)
        if place is None:
            return ""
        if nodes[place].HasField("bare_concrete_function"):
            return str(nodes[place].bare_concrete_function.concrete_function_name)
        return next(iter(nodes[place].function.concrete_functions), "")


def _variable(
    name: str,
    layer: str,
    inside: str,
    kind: str,
    dtype: str,
    shape: Any,
    read: Any,
    trainable: bool | None,
) -> GraphConstant:
    return GraphConstant(name, kind, layer, inside, dtype, tuple(shape), read, is_variable=True, trainable=trainable)


def _nodes_of(body: Any, library: Any, versions: Any) -> list[Any]:
    """Return the operations of a function with those of the functions that it calls; none if TensorFlow lacks one."""
    try:
        with tf.Graph().as_default():  # it learns the functions, and runs nothing
            tf.graph_util.import_graph_def(tf.compat.v1.GraphDef(library=library, versions=versions), name="")
            graph_def, _ = function_def_to_graph_def(body)
            graph_def.library.CopyFrom(library)
            return list(inlined(graph_def, 0).node)
    except (tf.errors.OpError, ValueError, KeyError):
        return []


def _is_random(name: str) -> bool:
    return any(part.startswith(_RANDOM) for part in str(name).split("/"))


def _readers_of(nodes: list[Any]) -> Mapping[str, list[str]]:
    """Return the types of the operations that read each one, past copies."""
    behind: dict[str, list[str]] = {}
    for node in nodes:
        for read in node.input:
            behind.setdefault(read.removeprefix("^").partition(":")[0], []).append(node.op)
    return behind


def _inside(name: str, layer: str) -> str:
    """Return the name of a variable in its layer: what follows the name of the layer, else the last part."""
    parts = name.removesuffix(":0").split("/")
    own = layer.rpartition(".")[2]
    places = [place for place, part in enumerate(parts[:-1]) if part == own]
    return "/".join(parts[places[-1] + 1 :] if places else parts[-1:])
