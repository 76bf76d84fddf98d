"""From the names of a graph's operations to the layers of the Keras model (docs/addresses.md).

Keras 3 enters a name scope twice for each call of a layer. So the first call of `conv` has the scope `conv_1`, the
second `conv_3`, and a layer `dense_1` beside a `dense` has `dense_1_2`. Keras 2 and `tf.Module` enter it once, so their
scopes are the names of the layers. TFLite joins the names of the operations that it fuses with `;`.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

_WRAPPER = re.compile(r"(Stateful)?PartitionedCall(_\d+)?(:\d+)?(_int\d+)?")
_HANDED_ON = re.compile(r"Identity(_\d+)?(:\d+)?")
_COUNTED = re.compile(r"(.+)_(\d+)")
_INTERNAL = frozenset(
    [
        "batchnorm",
        "moments",
        "Tensordot",
        "einsum",
        "while",
        "cond",
        "zeros",
        "ones",
        "zeros_like",
        "ones_like",
        "strided_slice",
        "TensorArrayUnstack",
        "TensorArrayV2Stack",
        "random_uniform",
        "random_normal",
        "separable_conv2d",
        "separable_conv1d",
        "conv_transpose",
        "Gelu",
    ]
)
"""Scopes that functions of TensorFlow open inside a layer."""

_ACTIVATIONS = frozenset({"Relu", "Relu6", "LeakyRelu", "Elu", "Selu", "Tanh", "Sigmoid", "HardSwish"})
"""Operations that TFLite fuses into the preceding one, so that their layer is the last."""

Path = tuple[str, ...]


@dataclass(frozen=True)
class LayerPlace:
    """The place of an operation among the layers.

    `layers` are the names of the layers around it, each with the number of the call. `own` are the parts of the name
    inside the innermost layer; it is empty where the graph gives the operation no name.
    """

    layers: tuple[tuple[str, int], ...]
    own: Path


@dataclass
class Scopes:
    """The scopes of one graph, from the names of all its operations; `known` are names of layers with weights."""

    names: Iterable[str]
    known: frozenset[str] = frozenset()
    _children: dict[Path, set[str]] = field(default_factory=dict)
    _operations: set[Path] = field(default_factory=set)
    _root: str | None = None
    _counted: bool = False

    def __post_init__(self) -> None:
        paths = {path for name in self.names for part in parts(name) if (path := _plain(part))}
        self._root = _common_root(paths)
        self._operations = {self._below_root(path) for path in paths}
        for path in self._operations:
            for depth, child in enumerate(path):
                self._children.setdefault(path[:depth], set()).add(child)
        top = sorted(name for name in self._children.get((), ()) if (name,) in self._children)
        self._counted = self._looks_counted(top)

    def place(self, name: str) -> LayerPlace:
        """Return the place of the operation of this name, which may be one part of a fused name."""
        path = self._below_root(_plain(name))
        layers: list[tuple[str, int]] = []
        for depth, scope in enumerate(path[:-1]):
            layer = self._layer(path[:depth], scope)
            if (
                layer is None or path[: depth + 1] in self._operations
            ):  # the scope of an operation that has several parts
                return LayerPlace(tuple(layers), path[depth:])
            layers.append(layer)
        return LayerPlace(tuple(layers), path[len(layers) :])

    def in_model(self, name: str) -> bool:
        """Tell whether a name is below the scope of the model, if there is one; other names have lost their layer."""
        return self._root is None or _plain(name)[:1] == (self._root,)

    def _below_root(self, path: Path) -> Path:
        return path[1:] if self._root is not None and path[:1] == (self._root,) and len(path) > 1 else path

    def _layer(self, parent: Path, scope: str) -> tuple[str, int] | None:
        """Return the name of the layer that has this scope, and the number of the call; None for no layer's scope."""
        siblings = self._children.get(parent, set())
        counted = _COUNTED.fullmatch(scope)
        if not self._counted:
            if parent and (scope in _INTERNAL or (counted is not None and counted[1] in _INTERNAL)):
                return None
            again = counted is not None and counted[1] in self.known and scope not in self.known
            return (counted[1], int(counted[2])) if again and counted is not None else (scope, 0)
        if counted is None or not _made_by_keras(counted, siblings):
            return None
        return counted[1], (int(counted[2]) - 1) // 2

    def _looks_counted(self, top: Sequence[str]) -> bool:
        """Tell whether the scopes are those of Keras 3, which appends a number to the name of the layer."""
        if self._root is not None and _COUNTED.fullmatch(self._root) is None:
            return False
        siblings = self._children.get((), set())
        named = [scope for scope in top if scope not in _INTERNAL]
        numbered = []
        for counted in (match for scope in named if (match := _COUNTED.fullmatch(scope))):
            if counted[0] in self.known and counted[1] not in self.known:
                return False
            if _made_by_keras(counted, siblings):
                numbered.append(counted)
            elif counted[1] not in siblings:
                return False
        called = {match[1] for match in numbered if int(match[2]) <= 2}
        return bool(numbered) and all(match[1] in called for match in numbered) and 2 * len(numbered) >= len(named)


def parts(name: str) -> list[str]:
    """Return the names of the operations that were fused into the tensor of this name."""
    return [part for part in name.split(";") if part]


def last_part(name: str) -> str:
    """Return the name of the last operation of a fused tensor: its activation, else its first part."""
    names = parts(name)
    for part in names:
        leaf = part.rpartition("/")[2]
        if re.sub(r"_?\d+$", "", leaf) in _ACTIVATIONS or leaf in _ACTIVATIONS:
            return part
    return next((part for part in names if "/batchnorm/" in part), names[0] if names else "")


def _plain(name: str) -> Path:
    """Return the scopes and the name of an operation, without the scopes of function calls."""
    path = tuple(scope for scope in name.split("/") if not _WRAPPER.fullmatch(scope))
    return () if len(path) == 1 and _HANDED_ON.fullmatch(path[0]) else path


def _common_root(paths: Iterable[Path]) -> str | None:
    """Return the scope of the model: the only one at the top, if it contains scopes or ends in a number of Keras."""
    paths = set(paths)
    tops = {path[0] for path in paths if len(path) > 1 and path[:1] not in paths}
    if len(tops) != 1:
        return None
    root = next(iter(tops))
    inner = [path[1] for path in paths if len(path) > 2]
    layered = [scope for scope in inner if scope not in _INTERNAL and _COUNTED.sub(r"\1", scope) not in _INTERNAL]
    counted = _COUNTED.fullmatch(root)
    return root if layered or (counted is not None and int(counted[2]) % 2) else None


def _made_by_keras(scope: re.Match[str], siblings: Iterable[str]) -> bool:
    """Tell whether a numbered scope can be the second one that Keras enters for a call of the layer of this name.

    The number is odd. It is even only where another layer used up a name: `dense_1` after a `dense` gives `dense_1_2`,
    and `dense` after a `dense_1` gives `dense_2`.
    """
    name, number = scope[1], int(scope[2])
    if number % 2:
        return name not in siblings
    if _COUNTED.fullmatch(name) is not None:
        return number > 0
    return number > 0 and any(re.fullmatch(re.escape(name) + r"_\d+_\d+", sibling) for sibling in siblings)
