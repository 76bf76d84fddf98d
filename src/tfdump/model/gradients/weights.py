"""The weights of a model: their addresses (docs/addresses.md), the layers that own them, and which are trainable."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf
from keras import Layer

from tfdump.address import Candidate, encode
from tfdump.dtypes import kind_of
from tfdump.model.free_names import free_name
from tfdump.model.recording.ownership import class_names
from tfdump.model.recording.recorder import Recorder
from tfdump.tensors import TensorInfo

_CALL = re.compile(r"@\d+")
_NOT_TRAINABLE = "not trainable"


@dataclass(frozen=True)
class Weight:
    """One variable of a model under its address.

    `aliases` are the other paths to it. `obstacle` says why it has no gradient, None for a trainable weight. `around`
    are the layers that contain it with their classes, its own layer first. `half` tells whether its layer computes in
    float16, and `is_state` whether its layer created it as not trainable (a moving mean, but not a frozen kernel).
    """

    address: str
    layer: str
    structure: str
    classes: tuple[str, ...]
    variable: keras.Variable
    aliases: tuple[str, ...]
    obstacle: str | None
    around: tuple[Candidate, ...]
    half: bool
    is_state: bool

    @property
    def tensor(self) -> tf.Variable:
        """The variable of TensorFlow that holds its values."""
        return self.variable.value

    @property
    def dtype(self) -> str:
        """The dtype of its values."""
        return str(keras.backend.standardize_dtype(self.variable.dtype))

    @property
    def shape(self) -> tuple[int, ...]:
        """Its shape."""
        return tuple(int(size) for size in self.variable.shape)

    @property
    def trainable(self) -> bool:
        """Whether training changes it."""
        return self.obstacle != _NOT_TRAINABLE

    @property
    def candidate(self) -> Candidate:
        """The addresses and classes by which it can be selected."""
        aliases = tuple(Candidate(alias, self.classes) for alias in self.aliases)
        return Candidate(self.address, self.classes, (*self.around, *aliases), self.layer or self.address)

    def info(self, order: int) -> TensorInfo:
        """Return the record of a tensor of this weight, which has the place `order`."""
        return TensorInfo(self.address, self.layer, self.structure, self.classes, order, self.dtype, self.shape)


def weights_of(model: Layer, recorder: Recorder) -> list[Weight]:
    """Return every weight of a model that ran under `recorder`, in the order in which its layers were called.

    A weight that several layers hold belongs to the first of them. Random states and metrics are not weights.
    """
    trainable = {id(variable) for variable in model.trainable_weights}
    wanted = {id(variable) for variable in model.weights}
    holders: dict[int, list[tuple[Layer, str, str, keras.Variable]]] = {}
    addresses: set[str] = set()
    owners = [(model, "", ""), *((o.operation, recorder.address_of(o.operation), o.path) for o in recorder.layers)]
    for layer, address, structure in owners:
        for variable in _own_variables(layer):
            if id(variable) in wanted:
                holders.setdefault(id(variable), []).append((layer, address, structure, variable))
    for variable in model.weights:  # those that no layer holds in its own lists
        holders.setdefault(id(variable), [(model, "", "", variable)])
    weights = []
    for held in holders.values():
        layer, address, structure, variable = held[0]
        name = encode(str(variable.name))
        paths = [_join(path, name) for other, *_ in held for path in recorder.paths_of(other)]
        paths += [_join(path, name) for _, path, *_ in held[1:]]
        own = free_name(_join(address, name), addresses)
        addresses.add(own)
        aliases = dict.fromkeys(_CALL.sub("", path) for path in paths)
        weights.append(
            Weight(
                own,
                address,
                _join(structure, name),
                class_names(layer),
                variable,
                tuple(alias for alias in aliases if alias not in (own, _CALL.sub("", _join(address, name)))),
                _obstacle(variable, id(variable) in trainable),
                tuple(_around([address, *(path for _, path, *_ in held[1:])], class_names(layer), recorder)),
                getattr(layer, "compute_dtype", None) == "float16",
                _is_state(layer, variable),
            )
        )
    return weights


def _own_variables(layer: Layer) -> list[Any]:
    """Return the variables that a layer holds itself, without those of its sublayers."""
    return [*getattr(layer, "_trainable_variables", []), *getattr(layer, "_non_trainable_variables", [])]


def _is_state(layer: Layer, variable: keras.Variable) -> bool:
    """Tell whether a variable is state without a gradient (a moving average, a seed), and not a quantized kernel."""
    made_so = any(variable is state for state in getattr(layer, "_non_trainable_variables", []))
    return made_so and str(keras.backend.standardize_dtype(variable.dtype)) not in ("int8", "uint8")


def _obstacle(variable: keras.Variable, trainable: bool) -> str | None:
    if not trainable:
        return _NOT_TRAINABLE
    if kind_of(str(keras.backend.standardize_dtype(variable.dtype))) not in "fc":
        return f"{variable.dtype} has no gradient"
    return None


def _around(paths: list[str], classes: tuple[str, ...], recorder: Recorder) -> Iterator[Candidate]:
    """Yield the layers that hold a weight and the calls around them, without the model itself."""
    for path in filter(None, paths):
        yield Candidate(path, classes)
        segments = path.split(".")
        for count in range(len(segments) - 1, 0, -1):
            outer = ".".join(segments[:count])
            yield Candidate(outer, recorder.classes.get(outer, ()))


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
