"""Which tensors may be missing on one side: all that read them agree, so they were computed inside of what reads them.

Only what reads a tensor directly can tell. A tensor further on may agree by chance, or because a layer between forgets
what went wrong.
"""

import json
from collections.abc import Callable, Sequence

from tfdump.comparison.layers.tree import placed
from tfdump.comparison.plain_arrays import Item
from tfdump.dump import layout
from tfdump.dump.attributes import order_of
from tfdump.dump.graph.labels import inputs_of

Judgment = Callable[[str], bool]
"""Tells something of the activation with this address."""


def agreement_of_readers(items: Sequence[Item], agrees: Judgment, is_alone: Judgment) -> dict[str, bool]:
    """Return by address whether all that read an activation of one side agree.

    A reader agrees if `agrees` says so; one without a counterpart (`is_alone`) counts as its own readers do.
    Activations that nothing reads are not in the result, nor those that a later tensor may have read without telling.
    But an output of an operation, such as the counter of a loop, agrees if only other outputs of it are read.
    """
    activations = sorted((item for item in items if placed(item)[0] == layout.ACTIVATIONS), key=order_of)
    readers: dict[str, list[str]] = {}
    agreement: dict[str, bool] = {}
    useful = {_operation(name) for item in activations for name in [*(inputs_of(item) or ()), *_operands(item)]} - {""}
    for item in reversed(activations):
        following = readers.get(item.address, [])
        if following:
            agreement[item.address] = all(
                agrees(name) or (is_alone(name) and agreement.get(name, False)) for name in following
            )
        elif _operation(item.address) in useful:
            agreement[item.address] = True
        read = inputs_of(item)
        if read is None:
            break
        for name in dict.fromkeys([*read, *_operands(item)]):
            readers.setdefault(name, []).append(item.address)
    return agreement


def _operation(address: str) -> str:
    """Return the operation inside a layer that has several outputs, of which this is one; "" for anything else."""
    name, _, number = address.rpartition(".")
    return name if number.isdecimal() and ":op." in name else ""


def _operands(item: Item) -> list[str]:
    """Return the addresses of the tensors that the last operation of a layer read; empty if the dump does not say."""
    text = item.attributes.get(layout.OPERANDS)
    return [str(name) for name in json.loads(text)] if isinstance(text, str) else []
