"""The weights of a SavedModel: the variables of its checkpoint, under the layers whose operations read them.

The graph is read as data. Neither it nor anything else in the folder is run, so no trust in its author is needed.
"""

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError

from tfdump.errors import ModelError
from tfdump.files.formats import SAVED_MODEL_GRAPH
from tfdump.files.limits import allowed_bytes, check_bytes
from tfdump.model.error_text import first_line
from tfdump.model.file_signatures import choose_signature
from tfdump.model.loading.formats import SAVED_MODEL
from tfdump.model.runnable import FixedModel
from tfdump.model.saved_model.files import serving_graph, signature_names
from tfdump.model.tensorflow_internals import TrackableObjectGraph
from tfdump.model.weights.graph_constants import GraphConstant, constant_weights
from tfdump.model.weights.records import ModelWeights, WeightRequest
from tfdump.model.weights.variable_readers import variable_readers
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
        file = path / SAVED_MODEL_GRAPH
        size = file.stat().st_size if file.is_file() else 0
        check_bytes(size, allowed_bytes(), f"{file} takes", ModelError)
        self._graph = serving_graph(path)
        names = signature_names(self._graph)
        self._signature = choose_signature(names, signature, path)
        self.config = json.dumps({"format": SAVED_MODEL, "signature": self._signature or None, "signatures": names})

    def model_weights(self, request: WeightRequest, note: Note) -> ModelWeights:
        """Return the variables, raw: a SavedModel does not tell which integers stand for real numbers."""
        return constant_weights(self._constants(), request, self.in_words, note, self._path.name)

    def _constants(self) -> Iterator[GraphConstant]:
        """Yield the variables in the order in which the layers of the signature read them."""
        if not (self._path / "variables" / "variables.index").is_file():
            return
        try:
            reader = tf.train.load_checkpoint(str(self._path / "variables" / "variables"))
            shapes, dtypes = reader.get_variable_to_shape_map(), reader.get_variable_to_dtype_map()
            sizes = (np.prod(shape, dtype=np.float64) * dtypes[key].size for key, shape in shapes.items())
            check_bytes(int(sum(sizes)), allowed_bytes(), f"the variables of {self._path} take", ModelError)
            keys = self._keys(reader) if _OBJECTS in shapes else {}
            readers = variable_readers(self._graph, self._signature) if keys else {}
            trainable = self._trainable() if keys else None
        except _DAMAGE as cause:
            raise ModelError(f"the variables of {self._path} are damaged: {first_line(cause)}") from cause
        if not keys:  # a graph of TensorFlow 1: the keys are the names of the variables
            for key in sorted(shapes):
                yield _variable(key, "", "", "", dtypes[key].name, shapes[key], partial(self._read, reader, key), None)
            return
        nodes = self._graph.object_graph_def.nodes
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


def _is_random(name: str) -> bool:
    return any(part.startswith(_RANDOM) for part in str(name).split("/"))


def _inside(name: str, layer: str) -> str:
    """Return the name of a variable in its layer: what follows the name of the layer, else the last part."""
    parts = name.removesuffix(":0").split("/")
    own = layer.rpartition(".")[2]
    places = [place for place, part in enumerate(parts[:-1]) if part == own]
    return "/".join(parts[places[-1] + 1 :] if places else parts[-1:])
