"""Calls of shared layers that one dump numbers as the model was built, and another in the order of execution.

Dumps of Keras models number the calls by the nodes of the graph, and also store the numbers by the order of execution.
SavedModels, TFLite files and older dumps know only the order of execution.
"""

import copy
from collections.abc import Mapping
from typing import Any

from tfdump.address import split
from tfdump.comparison.plain_arrays import Item
from tfdump.comparison.sides import Side
from tfdump.dump.layout import EXECUTED_AS


class ExecutedItem:
    """A tensor under the address that it has by the order of execution; otherwise it is `item`."""

    def __init__(self, item: Item, address: str) -> None:
        self.item = item
        self.address = address

    def __getattr__(self, name: str) -> Any:
        return getattr(self.item, name)


def names_by_execution(side: Side, other: Side) -> dict[str, str]:
    """Return the addresses of tensors and layers of a side with those by execution, if the other side uses these.

    Empty if both sides number calls in the same way, or if one of them has no numbered calls.
    """
    named = {item.address: str(item.attributes[EXECUTED_AS]) for item in side.items if EXECUTED_AS in item.attributes}
    alike = any(EXECUTED_AS in item.attributes for item in other.items)
    if alike or other.is_plain or not any("@" in item.address for item in other.items):
        return {}
    layers = {split(address)[0]: split(executed)[0] for address, executed in named.items()}
    return {address: executed for address, executed in (layers | named).items() if address != executed}


def side_by_execution(side: Side, names: Mapping[str, str]) -> Side:
    """Return the side with the addresses in `names` replaced."""
    renamed = copy.copy(side)
    renamed.items = [ExecutedItem(item, names[item.address]) if item.address in names else item for item in side.items]
    return renamed


def name_by_execution(name: str, names: Mapping[str, str]) -> str:
    """Return the name by execution for an address of a tensor or layer, with or without its group."""
    group, slash, address = name.rpartition("/")
    return group + slash + names.get(address, address)


def item_itself(item: Item | None) -> Item | None:
    """Return the original item of one with another address."""
    return item.item if isinstance(item, ExecutedItem) else item
