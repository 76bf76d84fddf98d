"""Which tensor of one side belongs to which of the other: by a map, address, structure of the model, or position."""

import json
import re
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from tfdump.address import split
from tfdump.analysis.execution_names import (
    item_itself,
    name_by_execution,
    names_by_execution,
    side_by_execution,
)
from tfdump.analysis.plain_arrays import Item
from tfdump.analysis.sides import Side
from tfdump.dump import layout
from tfdump.errors import InputError, near
from tfdump.paths import check_path

EXECUTION = "order of execution"
"""How calls of one layer are paired where only one side numbers them as the model was built."""

_BY_POSITION = (layout.OUTPUTS, layout.INPUTS, layout.INPUT_GRADIENTS)
"""Groups whose order is part of the model's interface, while names are not."""

_POSITION = re.compile(r"(?:^|\.)\d+(?:@\d+)?$")
"""The end of a structure that is a position in a list of layers."""


Found = TypeVar("Found")


@dataclass(frozen=True)
class Pair:
    """Two tensors that belong together, or one without a counterpart; `by` tells how they were found."""

    golden: Item | None
    new: Item | None
    by: str

    @property
    def items(self) -> list[Item]:
        """The golden item, then the new one, as far as they are there."""
        return [item for item in (self.golden, self.new) if item is not None]

    @property
    def names(self) -> list[str]:
        """The names that patterns may match: addresses, with and without their groups."""
        addresses = dict.fromkeys(item.address for item in self.items)
        return [*addresses, *dict.fromkeys(full_name(item) for item in self.items)]

    @property
    def classes(self) -> list[str]:
        """The names of the classes of the layers."""
        return [str(item.attributes["class"]) for item in self.items if "class" in item.attributes]


def full_name(item: Item) -> str:
    """Return the address with its group before it."""
    return f"{item.group}/{item.address}" if item.group else item.address


def pair_sides(golden: Side, new: Side, renamed: Mapping[str, str]) -> list[Pair]:
    """Pair every tensor of both sides: in the order of the golden side, then what only the new one has.

    `renamed` maps golden names to new ones: addresses, or the beginnings of addresses. Raises InputError for a name
    in it that is not there. Calls that only one side numbers as its model was built are paired by execution.
    """
    names, new_names = names_by_execution(golden, new), names_by_execution(new, golden)
    if not (names or new_names):
        return _pairs(golden, new, renamed)
    sides = side_by_execution(golden, names), side_by_execution(new, new_names)
    renamed = {name_by_execution(old, names): name_by_execution(to, new_names) for old, to in renamed.items()}
    return [_by_execution(pair) for pair in _pairs(*sides, renamed)]


def _by_execution(pair: Pair) -> Pair:
    """Return a pair of the items themselves, which was made by their addresses by execution."""
    golden, new = item_itself(pair.golden), item_itself(pair.new)
    unlike = golden is not None and new is not None and golden.address != new.address
    return Pair(golden, new, EXECUTION if unlike and pair.by == "address" else pair.by)


def _pairs(golden: Side, new: Side, renamed: Mapping[str, str]) -> list[Pair]:
    pairing = _Pairing(golden, new)
    pairing.by_map(renamed)
    if golden.is_plain and new.is_plain and len(golden.items) == len(new.items) == 1:
        pairing.match("position", lambda item: "the only one")
    if golden.is_plain == new.is_plain:
        pairing.match("address", full_name)
    else:
        pairing.with_plain()
    pairing.match("structure", _structure)
    for group in _BY_POSITION:
        pairing.by_position(group)
    return pairing.result()


def _structure(item: Item) -> tuple[str, ...] | None:
    """Return what identifies a tensor by the attributes of its model; None where nothing does."""
    found = str(item.attributes.get("structure", ""))
    if not found or item.group in _BY_POSITION:
        return None
    kind = str(item.attributes.get("class", "")) if _POSITION.search(found) else ""
    return (item.group, found, split(item.address)[1], kind)


class _Pairing:
    """Pairs in the making: by position on the golden side, and by identity of the new items that are taken."""

    def __init__(self, golden: Side, new: Side) -> None:
        self._golden = golden
        self._new = new
        self._pairs: dict[int, list[Pair]] = {}
        self._taken: set[int] = set()

    def _take(self, position: int, item: Item, by: str) -> None:
        self._pairs.setdefault(position, []).append(Pair(self._golden.items[position], item, by))
        self._taken.add(id(item))

    def _left(self) -> tuple[list[int], list[Item]]:
        golden = [position for position in range(len(self._golden.items)) if position not in self._pairs]
        return golden, [item for item in self._new.items if id(item) not in self._taken]

    def match(self, by: str, key: Callable[[Item], Hashable]) -> None:
        """Pair what is left and has the same key, where no other item on its side has it."""
        positions, items = self._left()
        olds = _unique((key(self._golden.items[position]), position) for position in positions)
        news = _unique((key(item), item) for item in items)
        for name, position in olds.items():
            if name in news:
                self._take(position, news[name], by)

    def with_plain(self) -> None:
        """Pair a dump with plain arrays: one array may stand for tensors of the same address in several groups."""
        positions, items = self._left()
        olds = [(position, self._golden.items[position]) for position in positions]
        if self._new.is_plain:
            by_name = _plain_names(items)
            for position, old in olds:
                found = by_name.get(full_name(old)) or by_name.get(old.address)
                if found is not None:
                    self._take(position, found, "address")
            return
        plain = {id(old): position for position, old in olds}
        by_name = _plain_names([old for _, old in olds])
        for item in items:
            found = by_name.get(full_name(item)) or by_name.get(item.address)
            if found is not None:
                self._take(plain[id(found)], item, "address")

    def by_position(self, group: str) -> None:
        """Pair what is left of a group at the same position in it, where both sides have as many members."""
        olds = [position for position, item in enumerate(self._golden.items) if item.group == group]
        news = [item for item in self._new.items if item.group == group]
        if len(olds) == len(news):
            for position, item in zip(olds, news, strict=True):
                if position not in self._pairs and id(item) not in self._taken:
                    self._take(position, item, "position")

    def by_map(self, renamed: Mapping[str, str]) -> None:
        """Pair what the map names; the whole name of a tensor counts before the beginning of one."""
        known: set[str] = set()
        reached: set[str] = set()
        for position, item in enumerate(self._golden.items):
            for old, name in _translations(item, renamed):
                known.add(old)
                found = [other for other in self._new.items if _answers(other, name, item.group)]
                for other in found:
                    if other.group and id(other) in self._taken:
                        raise InputError(f"the map leads twice to '{name}' of {self._new.name} (name it once)")
                    self._take(position, other, "map")
                reached |= {old} if found else set()
                if found:
                    break
        for old, name in renamed.items():
            if old not in known:
                names = [name for item in self._golden.items for name in (item.address, full_name(item))]
                raise InputError(f"{self._golden.name} has no tensor '{old}', which the map names{near(old, names)}")
            if old not in reached:
                names = [other.address for other in self._new.items]
                raise InputError(f"{self._new.name} has no tensor '{name}', which the map names{near(name, names)}")

    def result(self) -> list[Pair]:
        """Return all pairs, and what has no counterpart."""
        _, rest = self._left()
        found = []
        for position, item in enumerate(self._golden.items):
            found += self._pairs.get(position, [Pair(item, None, "")])
        return found + [Pair(None, item, "") for item in rest]


def _unique(found: Iterable[tuple[Hashable, Found]]) -> dict[Hashable, Found]:
    """Return a mapping without the keys that are None or come twice."""
    kept: dict[Hashable, Found] = {}
    twice = set()
    for key, value in found:
        if key in kept:
            twice.add(key)
        kept[key] = value
    return {key: value for key, value in kept.items() if key is not None and key not in twice}


def _plain_names(items: Sequence[Item]) -> dict[str, Item]:
    """Return plain arrays by their names, and by these with dots where the file has slashes."""
    return {**{item.address.replace("/", "."): item for item in items}, **{item.address: item for item in items}}


def _translations(item: Item, renamed: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return the entries of the map that say something of an item, the longest first, with the name they give."""
    found = []
    for own in (full_name(item), item.address):
        for old, name in renamed.items():
            if own == old:
                found.append((old, name))
            elif own.startswith(old) and own[len(old)] in ".:@":
                found.append((old, name + own[len(old) :]))
    return sorted(found, key=lambda entry: -len(entry[0]))


def _answers(item: Item, name: str, group: str) -> bool:
    """Tell whether an item bears a name, given for a tensor of a group."""
    if full_name(item) == name:
        return True
    return item.address == name and (not item.group or not group or item.group == group)


def read_map(path: Path) -> dict[str, str]:
    """Read a map of golden names to new ones: a JSON object, or lines of two names with a tab between them.

    Empty lines and such that begin with `#` count for nothing. Raises InputError where the file is neither.
    """
    check_path(path, "file", InputError)
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeError) as cause:
        raise InputError(f"cannot read {path}: {getattr(cause, 'strerror', None) or cause}") from None
    if text.lstrip().startswith("{"):
        try:
            found = json.loads(text)
        except (ValueError, RecursionError) as cause:
            raise InputError(f"{path} is no JSON object: {cause}") from None
        if not all(isinstance(name, str) for name in found.values()):
            raise InputError(f'{path} maps a name to something that is no name (write {{"golden": "new"}})')
        return dict(found)
    pairs: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        row = line.split("\t")
        if len(row) != 2 or not all(row):
            raise InputError(f"{path}, line {number} is not two names with a tab between them")
        if row[0] in pairs:
            raise InputError(f"{path}, line {number} maps '{row[0]}' a second time")
        pairs[row[0]] = row[1]
    return pairs
