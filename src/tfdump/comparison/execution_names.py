"""The calls of shared layers, which one dump numbers as the model was built and another as it was run.

Dumps of Keras models number the calls by the nodes of the graph, and tell by which numbers they would go in the order
of execution. SavedModels and TFLite files know that order alone, as older dumps do.
"""

import copy
from collections.abc import Mapping
from typing import Any

from tfdump.address import split
from tfdump.comparison.plain_arrays import Item
from tfdump.comparison.sides import Side
from tfdump.dump.layout import EXECUTED_AS


class ExecutedItem:
    """A tensor under the address that it has by the order of execution; in all else it is `item`."""

    def __init__(self, item: Item, address: str) -> None:
        self.item = item
        self.address = address

    def __getattr__(self, name: str) -> Any:
        return getattr(self.item, name)


def names_by_execution(side: Side, other: Side) -> dict[str, str]:
    """Return addresses of tensors and layers of a side with those by execution, where the other side has these.

    Empty where both sides number calls alike, or where one of them has no calls to be numbered.
    """
    named = {item.address: str(item.attributes[EXECUTED_AS]) for item in side.items if EXECUTED_AS in item.attributes}
    alike = any(EXECUTED_AS in item.attributes for item in other.items)
    if alike or other.is_plain or not any("@" in item.address for item in other.items):
        return {}
    layers = {split(address)[0]: split(executed)[0] for address, executed in named.items()}
    return {address: executed for address, executed in (layers | named).items() if address != executed}


def side_by_execution(side: Side, names: Mapping[str, str]) -> Side:
    """Return the side with other addresses for the items that `names` has."""
    renamed = copy.copy(side)
    renamed.items = [ExecutedItem(item, names[item.address]) if item.address in names else item for item in side.items]
    return renamed


def name_by_execution(name: str, names: Mapping[str, str]) -> str:
    """Return what a name is by execution: an address of a tensor or layer, perhaps with its group before it."""
    group, slash, address = name.rpartition("/")
    return group + slash + names.get(address, address)


def item_itself(item: Item | None) -> Item | None:
    """Return the item that stands behind one of another address."""
    return item.item if isinstance(item, ExecutedItem) else item
