"""Pairs each tensor of one side with a tensor of the other: by a map, or by the best overall agreement.

A tensor follows its layer. Layers are paired by names that a user chose. Layers whose names Keras generated are paired
by structure, class, order and shape; inputs and outputs by name, or else by position.
"""

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from tfdump.address import Candidate, split
from tfdump.comparison.counterparts import Counterparts, counterparts
from tfdump.comparison.execution_names import item_itself, name_by_execution, names_by_execution, side_by_execution
from tfdump.comparison.layers.certain_pairs import POSITION
from tfdump.comparison.layers.tree import INTERFACE_GROUPS, placed
from tfdump.comparison.plain_arrays import Item
from tfdump.comparison.renaming import answers, translations
from tfdump.comparison.sides import Side
from tfdump.comparison.values.layouts import Layout
from tfdump.dump.attributes import full_name
from tfdump.errors import InputError, near

ADDRESS, STRUCTURE, ORDER, PLACE, MAP = "address", "structure", "order", "position", "map"
EXACT, NEAR_VALUE = "exact value", "near value"
"""Ways to pair tensors; `pair_sides` knows those by names, `values.by_value` the others."""

EXECUTION = "order of execution"
"""How calls of a shared layer are paired if only one side numbers them in the order in which the model was built."""

Entry = TypeVar("Entry")


@dataclass(frozen=True)
class Pair:
    """Two tensors that belong together, or one without a counterpart; `by` tells how they were paired.

    `axes` is the layout that gives the new tensor the axes of the golden one; None if it has them. `exact` tells that
    the values are known to be equal but for rounding, in a few examples.
    """

    golden: Item | None
    new: Item | None
    by: str
    axes: Layout | None = None
    exact: bool = False

    @property
    def items(self) -> list[Item]:
        """The golden item and the new item, as far as they exist."""
        return [item for item in (self.golden, self.new) if item is not None]

    @property
    def names(self) -> list[str]:
        """The names that patterns may match: addresses, with and without their groups."""
        addresses = dict.fromkeys(item.address for item in self.items)
        return [*addresses, *dict.fromkeys(full_name(item) for item in self.items)]

    @property
    def candidate(self) -> Candidate:
        """What the globs of --ignore, --transpose and tolerances match."""
        first, *others = (Candidate(name.replace("/", "."), tuple(self.classes)) for name in self.names)
        return Candidate(first.address, first.classes, tuple(others))

    @property
    def classes(self) -> list[str]:
        """The names of the classes of the layers."""
        return [str(item.attributes["class"]) for item in self.items if "class" in item.attributes]


def pair_sides(golden: Side, new: Side, renamed: Mapping[str, str]) -> list[Pair]:
    """Pair every tensor of both sides: in the order of the golden side, then the tensors that only the new side has.

    `renamed` maps golden names to new ones: addresses, or the beginnings of addresses. Raises InputError for a name in
    it that does not exist. Calls that only one side numbers as its model was built are paired by the order of
    execution.
    """
    names, new_names = names_by_execution(golden, new), names_by_execution(new, golden)
    if not (names or new_names):
        return _pairs(golden, new, renamed)
    sides = side_by_execution(golden, names), side_by_execution(new, new_names)
    renamed = {name_by_execution(old, names): name_by_execution(to, new_names) for old, to in renamed.items()}
    return [_by_execution(pair) for pair in _pairs(*sides, renamed)]


def _by_execution(pair: Pair) -> Pair:
    """Return a pair of the original items, for a pair that was made by addresses in the order of execution."""
    golden, new = item_itself(pair.golden), item_itself(pair.new)
    unlike = golden is not None and new is not None and golden.address != new.address
    return Pair(golden, new, EXECUTION if unlike and pair.by == ADDRESS else pair.by)


def _pairs(golden: Side, new: Side, renamed: Mapping[str, str]) -> list[Pair]:
    pairing = _Pairing(golden, new)
    pairing.by_map(renamed)
    if golden.is_plain and new.is_plain and len(golden.items) == len(new.items) == 1:
        pairing.match(PLACE, lambda item: "the only one")
    pairing.by_layer(counterparts(golden, new, pairing.mapped()))
    for group in INTERFACE_GROUPS:
        pairing.by_position(group)
    return pairing.result()


def _structure(item: Item) -> tuple[str, ...] | None:
    """Return what identifies a tensor by the attributes of its model; None if nothing does."""
    structure = str(item.attributes.get("structure", ""))
    if not structure or item.group in INTERFACE_GROUPS:
        return None
    kind = str(item.attributes.get("class", "")) if POSITION.search(structure) else ""
    return (item.group, structure, split(item.address)[1], kind)


class _Pairing:
    """Pairs in the making, by position on the golden side; new items that are paired are known by identity."""

    def __init__(self, golden: Side, new: Side) -> None:
        self._golden = golden
        self._new = new
        self._pairs: dict[int, list[Pair]] = {}
        self._paired: set[int] = set()

    def _take(self, position: int, item: Item, by: str) -> None:
        self._pairs.setdefault(position, []).append(Pair(self._golden.items[position], item, by))
        self._paired.add(id(item))

    def _left(self) -> tuple[list[int], list[Item]]:
        golden = [position for position in range(len(self._golden.items)) if position not in self._pairs]
        return golden, [item for item in self._new.items if id(item) not in self._paired]

    def match(
        self, by: str, key: Callable[[Item], Hashable], new_key: Callable[[Item], Hashable] | None = None
    ) -> None:
        """Pair remaining tensors that have the same key, if no other item on the same side has it."""
        positions, items = self._left()
        olds = _unique((key(self._golden.items[position]), position) for position in positions)
        news = _unique(((new_key or key)(item), item) for item in items)
        for name, position in olds.items():
            if name in news:
                self._take(position, news[name], by)

    def mapped(self) -> list[tuple[Item, Item]]:
        """Return the tensors that are paired so far."""
        pairs = [pair for members in self._pairs.values() for pair in members]
        return [(pair.golden, pair.new) for pair in pairs if pair.golden is not None and pair.new is not None]

    def by_layer(self, known: Counterparts) -> None:
        """Pair the tensors of paired layers, then tensors of equal address whose layers are not paired."""
        positions, items = self._left()
        if self._golden.is_plain == self._new.is_plain:
            by_name = _unique((placed(item), item) for item in items)
            for position in positions:
                group, address = placed(self._golden.items[position])
                self._follow(position, by_name.get((group, known.address(group, address))))
            for by, key in ((ADDRESS, full_name), (STRUCTURE, _structure)):
                self.match(by, _without(known, key), _without(known.turned(), key))
            return
        if self._new.is_plain:
            arrays = _plain_names(items)
            for position in positions:
                self._follow(position, _array_of(self._golden.items[position], arrays, known))
            return
        known = known.turned()
        plain = {id(self._golden.items[position]): position for position in positions}
        arrays = _plain_names([self._golden.items[position] for position in positions])
        for item in items:
            array = _array_of(item, arrays, known)
            if array is not None:
                self._follow(plain[id(array)], item)

    def _follow(self, position: int, item: Item | None) -> None:
        if item is not None:
            self._take(position, item, _way(self._golden.items[position], item))

    def by_position(self, group: str) -> None:
        """Pair what remains of a group by position, if both sides have the same number of members."""
        olds = [position for position, item in enumerate(self._golden.items) if item.group == group]
        news = [item for item in self._new.items if item.group == group]
        if len(olds) == len(news):
            for position, item in zip(olds, news, strict=True):
                if position not in self._pairs and id(item) not in self._paired:
                    self._take(position, item, PLACE)

    def by_map(self, renamed: Mapping[str, str]) -> None:
        """Pair what the map names; the whole name of a tensor counts before the beginning of one."""
        known: set[str] = set()
        reached: set[str] = set()
        for position, item in enumerate(self._golden.items):
            for old, name in translations(item, renamed):
                known.add(old)
                matches = [other for other in self._new.items if answers(other, name, item.group)]
                for other in matches:
                    if other.group and id(other) in self._paired:
                        raise InputError(f"the map pairs '{name}' of {self._new.name} with two tensors (name it once)")
                    self._take(position, other, MAP)
                reached |= {old} if matches else set()
                if matches:
                    break
        for old, name in renamed.items():
            if old not in known:
                names = [name for item in self._golden.items for name in (item.address, full_name(item))]
                raise InputError(f"{self._golden.name} has no tensor '{old}', which the map names{near(old, names)}")
            if old not in reached:
                names = [other.address for other in self._new.items]
                raise InputError(f"{self._new.name} has no tensor '{name}', which the map names{near(name, names)}")

    def result(self) -> list[Pair]:
        """Return all pairs, and the tensors without a counterpart."""
        _, rest = self._left()
        pairs = []
        for position, item in enumerate(self._golden.items):
            pairs += self._pairs.get(position, [Pair(item, None, "")])
        return pairs + [Pair(None, item, "") for item in rest]


def _unique(entries: Iterable[tuple[Hashable, Entry]]) -> dict[Hashable, Entry]:
    """Return a mapping without keys that are None or occur twice."""
    once: dict[Hashable, Entry] = {}
    twice = set()
    for key, value in entries:
        if key in once:
            twice.add(key)
        once[key] = value
    return {key: value for key, value in once.items() if key is not None and key not in twice}


def _way(golden: Item, new: Item) -> str:
    """Return how two tensors of paired layers were paired: by address if equal, else by the stronger evidence."""
    (group, address), (new_group, new_address) = placed(golden), placed(new)
    if address == new_address:
        return ADDRESS
    if group in INTERFACE_GROUPS and new_group == group:
        return PLACE
    structure = golden.attributes.get("structure")
    return STRUCTURE if structure and structure == new.attributes.get("structure") else ORDER


def _without(known: Counterparts, key: Callable[[Item], Hashable]) -> Callable[[Item], Hashable]:
    """Return a key function that is None for tensors of layers with counterparts."""

    def limited(item: Item) -> Hashable:
        return key(item) if known.address(*placed(item)) is None else None

    return limited


def _array_of(item: Item, arrays: Mapping[str, Item], known: Counterparts) -> Item | None:
    """Return the plain array that corresponds to a tensor of a dump.

    If the layer has no counterpart, the array has the name of the tensor, unless it belongs to another layer.
    """
    address = known.address(item.group, item.address)
    if address is None:
        if known.is_counterpart(item.group, item.address):
            return None
        address = item.address
    return arrays.get(f"{item.group}/{address}" if item.group else address) or arrays.get(address)


def _plain_names(items: Sequence[Item]) -> dict[str, Item]:
    """Return plain arrays by their names, and by these with dots for the slashes of the file."""
    return {**{item.address.replace("/", "."): item for item in items}, **{item.address: item for item in items}}
