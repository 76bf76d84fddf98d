"""Notes where the images that a model of `keras.applications` gets are not in the range that it was trained on."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from keras import KerasTensor, Sequential, layers

from tfdump.inputs.identity import NamedReader
from tfdump.inputs.source import InputColumn, Source
from tfdump.model.any_backend_internals import Functional


@dataclass(frozen=True)
class Application:
    """A family of models: its name, the module of its preprocessing, the range it takes, and layers that tell it."""

    name: str
    module: str
    takes: str
    marks: frozenset[str]
    without: frozenset[str] = frozenset()


_TWO_SIDED, _CENTERED, _NORMALIZED = "from -1 to 1", "in BGR order around 0", "of about -2 to 3"

APPLICATIONS = (
    Application("MobileNet", "mobilenet", _TWO_SIDED, frozenset({"conv1", "conv_dw_1", "conv_pw_1"})),
    Application("MobileNetV2", "mobilenet_v2", _TWO_SIDED, frozenset({"Conv1", "bn_Conv1", "expanded_conv_depthwise"})),
    Application("InceptionV3", "inception_v3", _TWO_SIDED, frozenset({"mixed0", "mixed1", "mixed2"})),
    Application("InceptionResNetV2", "inception_resnet_v2", _TWO_SIDED, frozenset({"mixed_5b", "block35_1_mixed"})),
    Application("Xception", "xception", _TWO_SIDED, frozenset({"block1_conv1", "block2_sepconv1", "block3_sepconv1"})),
    Application("NASNet", "nasnet", _TWO_SIDED, frozenset({"stem_conv1", "stem_bn1"})),
    Application("ResNetV2", "resnet_v2", _TWO_SIDED, frozenset({"conv1_conv", "conv2_block1_preact_bn"})),
    Application(
        "ResNet", "resnet50", _CENTERED, frozenset({"conv1_conv", "conv1_bn", "conv2_block1_1_bn", "conv2_block1_out"})
    ),
    Application(
        "VGG16",
        "vgg16",
        _CENTERED,
        frozenset({"block1_conv1", "block1_pool", "block5_conv3"}),
        frozenset({"block5_conv4"}),
    ),
    Application("VGG19", "vgg19", _CENTERED, frozenset({"block1_conv1", "block1_pool", "block5_conv4"})),
    Application("DenseNet", "densenet", _NORMALIZED, frozenset({"conv1_conv", "conv2_block1_0_bn"})),
)
"""The families that have no preprocessing inside, by the names that Keras gives to their first layers."""

_UNCHANGING = (
    *(layers.InputLayer, layers.Identity, layers.Dropout, layers.ZeroPadding2D, layers.Resizing, layers.CenterCrop),
    *(layers.RandomFlip, layers.RandomRotation, layers.RandomTranslation, layers.RandomZoom, layers.RandomCrop),
)
"""Layers after which values are in the same range."""

_LOOKED_AT = 4
"""Examples whose values are looked at."""

_LEAST_VALUES = 100
_LARGEST_SCALE = 1 / 100
"""A layer that multiplies by at most this takes pixels from 0 to 255."""


def range_notes(model: Any, source: Source) -> list[str]:
    """Return a note for each input of images whose values are not in the range that the model was trained on."""
    graph = model._functional if isinstance(model, Sequential) else model
    if not isinstance(graph, Functional):
        return []
    columns = {column.name: column for column in source.columns}
    notes = []
    for tensor in graph.inputs:
        column = columns.get(tensor._keras_history.operation.name) or columns.get(tensor.name)
        wanted = _wanted(graph, tensor) if len(tensor.shape) == 4 else None
        if column is None or wanted is None or _is_random(column):
            continue
        values = source.read_column(column.name, 0, min(_LOOKED_AT, source.examples))
        if values.size >= _LEAST_VALUES and (note := _note(column.name, values, wanted)):
            notes.append(note)
    return notes


def _is_random(column: InputColumn) -> bool:
    return isinstance(column.reader, NamedReader) and "random" in column.reader.settings


_RESCALED = "a layer that rescales pixels"


def _wanted(graph: Functional, tensor: KerasTensor) -> Application | str | None:
    """Return the application that reads an input as it is, or what takes pixels from 0 to 255; None for all others."""
    tensors = [tensor]
    for item in tensors:
        for operation, place, written in _readers(graph, item):
            if not isinstance(operation, _UNCHANGING):
                return _wanted_by(graph, operation, place)
            tensors += written
    return None


def _readers(graph: Functional, tensor: KerasTensor) -> Iterator[tuple[Any, int, list[Any]]]:
    """Yield the operations that read a tensor, its place among what they read, and what they return."""
    for nodes in graph._nodes_by_depth.values():
        for node in nodes:
            places = [place for place, one in enumerate(node.input_tensors) if one is tensor]
            if places and not node.is_input:
                yield node.operation, places[0], list(node.output_tensors)


def _wanted_by(graph: Functional, operation: Any, place: int) -> Application | str | None:
    """Return what an operation of a graph wants of what it reads at a place."""
    inner = operation._functional if isinstance(operation, Sequential) else operation
    if isinstance(inner, Functional):
        return _wanted(inner, inner.inputs[place])
    if isinstance(operation, layers.Rescaling):
        return _RESCALED if np.max(operation.scale) <= _LARGEST_SCALE else None
    if isinstance(operation, layers.Normalization):
        return _RESCALED if operation.name.endswith("_prestem_normalization") else None
    return _application(graph) if isinstance(operation, layers.Conv2D) else None


def _application(graph: Functional) -> Application | None:
    names = {layer.name for layer in graph.layers}
    fitting = [one for one in APPLICATIONS if one.marks <= names and not one.without & names]
    return fitting[0] if fitting else None


def _note(name: str, values: Any, wanted: Application | str) -> str | None:
    """Return the note for values of an input that are in another range, None where they may be right."""
    low, high = float(np.min(values)), float(np.max(values))
    if not np.isfinite([low, high]).all() or low == high:
        return None
    have = f"the input '{name}' has values from {low:.3g} to {high:.3g}"
    fraction, two_sided = low >= 0 and high <= 1, low < 0 and low >= -1 and high <= 1
    to_pixels = "scale=255" if fraction else "mean=-1;scale=127.5"
    if isinstance(wanted, str):
        if not (fraction or two_sided):
            return None
        return f"{have}, and the model begins with {wanted} from 0 to 255 (add --preprocess '{to_pixels}')"
    pixels = low >= 0 and high > 2
    if not (pixels or fraction or (two_sided and wanted.takes == _CENTERED)):
        return None
    steps = wanted.module if pixels else f"{to_pixels};{wanted.module}"
    return (
        f"{have}, and the {wanted.name} of keras.applications was trained on values {wanted.takes} (add --preprocess "
        f"'{steps}', unless this model was trained otherwise)"
    )
