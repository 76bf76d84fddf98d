"""The owners of the tensors of a graph of plain operations, from the names of the operations."""

import re
from bisect import insort
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from tfdump.address import segment
from tfdump.model.operations.node_names import node_name
from tfdump.model.operations.scopes import LayerPlace, Scopes, parts

_CONSTANT = re.compile(r"(Const|cst|arith\.constant|tfl\.pseudo_q?const|tf\.Const)_?\d*")
"""Names of constants that belong to no layer."""

Layers = tuple[tuple[str, int], ...]
"""The calls of layers around a tensor, from the model down: the name of the layer, and the number of the call."""


@dataclass(frozen=True)
class Owner:
    """A call of a layer with the calls around it, or `node`, an operation of the model itself that is not a layer."""

    layers: Layers
    node: str = ""

    @property
    def address(self) -> str:
        """The address of its output."""
        return self.node or ".".join(segment(name, 0, call) for name, call in self.layers)

    def holds(self, other: "Owner | None") -> bool:
        """Tell whether another owner is this one, or a layer inside it."""
        if other is None or self.node or other.node:
            return self == other
        return other.layers[: len(self.layers)] == self.layers

    def around(self) -> list["Owner"]:
        """Return this owner and the layers around it, the innermost first."""
        return [self] if self.node else [Owner(self.layers[:depth]) for depth in range(len(self.layers), 0, -1)]


@dataclass(frozen=True)
class Nameable:
    """One tensor that needs an address, with its name in the graph.

    `reads` are the positions of the tensors that it is computed from, and `readers` of those that read it. `data` tells
    whether its values follow from the inputs, `final` whether it is an output of the graph, and `shown` whether it can
    have an address (a handle cannot). `index` is its number among the outputs of its operation, None for a single one.
    `represents` tells that the operation only converts the numbers to another dtype. `boolean` and `floating` describe
    its dtype; `rank` is the number of its axes, 0 for a traced graph. `activated` tells that an activation was fused
    into the operation, and `unpadded` that it is a convolution without padding. `constants` are the names of constants
    that no other operation reads. `weights` and `bias` are the names of those of a matrix product or convolution: None
    where it has none, "" where the name shows nothing. `loop_place` is set for what a loop of TensorFlow hands on
    behind its list of outputs: its number there, and how many there are.
    """

    name: str
    reads: tuple[int, ...]
    readers: frozenset[int]
    data: bool = True
    final: bool = False
    index: int | None = None
    shown: bool = True
    represents: bool = False
    boolean: bool = False
    floating: bool = True
    kind: str = ""
    rank: int = 0
    activated: bool = False
    unpadded: bool = False
    constants: tuple[str, ...] = ()
    weights: str | None = None
    bias: str | None = None
    loop_place: tuple[int, int] | None = None


@dataclass(frozen=True)
class NamePart:
    """The name of one of the operations that were fused into a tensor: its owner, and its place."""

    owner: Owner
    place: LayerPlace

    @property
    def leaf(self) -> str:
        """The last word of the name, without the number that makes it unique."""
        return leaf_of(self.place.own[-1])


def leaf_of(name: str) -> str:
    """Return the name of an operation without the number that makes it unique."""
    return re.sub(r"_\d+$", "", name)


class OwnedTensors:
    """The tensors of a graph: the `parts` of the name of each, and the `members` of each owner in order.

    `restored` has the positions of the tensors to which `add` gave a part that their names do not show.
    """

    def __init__(self, tensors: Sequence[Nameable], scopes: Scopes) -> None:
        self.tensors = tensors
        self._scopes = scopes
        self.parts: list[list[NamePart]] = [[] for _ in tensors]
        self.members: dict[Owner, list[int]] = {}
        self.restored: set[int] = set()
        for position, tensor in enumerate(tensors):
            for part in self.parts_of(tensor.name):
                self._add(position, part)

    def add(self, position: int, part: NamePart) -> None:
        """Let a tensor have a part that its name does not show."""
        self.restored.add(position)
        self._add(position, part)

    def _add(self, position: int, part: NamePart) -> None:
        self.parts[position].append(part)
        for owner in part.owner.around():
            members = self.members.setdefault(owner, [])
            if position not in members:
                insort(members, position)

    def parts_of(self, name: str) -> list[NamePart]:
        """Return the parts of a fused name that belong to a layer or are nodes of the model.

        A constant that two calls of a layer share has the name of one of them. Of several calls, only the one with the
        most parts counts.
        """
        places = [self._scopes.place(part) for part in parts(name) if self._scopes.in_model(part)]
        candidates = [
            NamePart(Owner(place.layers) if place.layers else Owner((), node_name(place.own[:1])), place)
            for place in places
            if place.own and (place.layers or not _CONSTANT.fullmatch(place.own[0]))
        ]
        calls: dict[tuple[str, ...], list[Owner]] = {}
        for part in candidates:
            if part.owner.layers:
                calls.setdefault(tuple(name for name, _ in part.owner.layers), []).append(part.owner)
        true = {names: max(owners, key=owners.count) for names, owners in calls.items()}
        return [
            part
            for part in candidates
            if true.get(tuple(name for name, _ in part.owner.layers), part.owner) == part.owner
        ]

    def owners(self, position: int) -> list[Owner]:
        """Return the innermost owners of a tensor, in the order of its name."""
        return list(dict.fromkeys(part.owner for part in self.parts[position]))

    @cached_property
    def _before(self) -> list[int]:
        """The tensors from whose values each one is computed, as bits; those for its shape alone do not count."""
        before: list[int] = []
        for tensor in self.tensors:
            bits = 0
            for read in tensor.reads:
                if self.tensors[read].data or not tensor.data:
                    bits |= before[read] | 1 << read
            before.append(bits)
        return before

    def follows(self, position: int, earlier: int) -> bool:
        """Tell whether a tensor is computed from another one."""
        return bool(self._before[position] >> earlier & 1)

    def follows_any(self, position: int, earlier: int) -> bool:
        """Tell whether a tensor is computed from one of several others, or is one of them; these are bits."""
        return bool((self._before[position] | 1 << position) & earlier)

    def behind(self, position: int) -> Iterator[int]:
        """Yield the operations that read the numbers of a tensor, directly or after a conversion of the dtype."""
        for reader in sorted(self.tensors[position].readers):
            if self.tensors[reader].represents:
                yield from self.behind(reader)
            elif self.tensors[reader].data:
                yield reader

    def sources(self, position: int) -> list[int]:
        """Return the tensors whose numbers an operation reads, before any conversion of the dtype."""
        sources = []
        for read in self.tensors[position].reads:
            tensor = self.tensors[read]
            sources += self.sources(read) if tensor.represents and tensor.reads else [read]
        return sources
