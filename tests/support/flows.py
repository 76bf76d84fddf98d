"""What feeds what, as models and files tell it, and the means to compare it between formats."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from tfdump.address import Selection
from tfdump.api.arguments import arrays_of
from tfdump.inputs.source import ReadingOptions
from tfdump.model.loading.load import in_memory, load_model
from tfdump.model.request import Request
from tfdump.model.runnable import open_source, probe_declared, probe_source
from tfdump.tensors import TensorInfo

Infos = dict[str, TensorInfo]


def infos(model: Any, x: Any = None) -> Infos:
    """The tensors of a model, or of a file, by their addresses; calls are numbered in the order of execution."""
    loaded = load_model(model, trust=True) if isinstance(model, Path) else in_memory(model)
    request = Request(Selection(), outputs=False)
    if x is None:
        probe = probe_declared(loaded.model, request, lambda text: None)
    else:
        signature, source = open_source(loaded.model, arrays_of(x), ReadingOptions(), lambda text: None)
        probe = probe_source(loaded.model, signature, source, request, lambda text: None)
    with probe:
        return {probed.info.address: probed.info for probed in probe.probed}


def flow(items: Infos) -> dict[str, tuple[str, ...] | None]:
    """What every layer and operation reads, with calls numbered in the order of execution, as in other formats."""
    executed = {address: str(dict(item.attributes).get("executed_as", address)) for address, item in items.items()}
    return {
        executed[address]: item.inputs and tuple(executed.get(name, name) for name in item.inputs)
        for address, item in items.items()
    }


def shared(layers: Infos, others: Infos) -> list[str]:
    """The addresses that a Keras model and another format have in common, without those inside layers that have not."""
    theirs = {item.layer for item in layers.values()}
    numbered = flow(layers)

    def around(address: str) -> list[str]:
        parts = address.split(".")
        return [".".join(parts[:depth]) for depth in range(1, len(parts))]

    return [a for a in numbered if a in others and all(outer in others for outer in around(a) if outer in theirs)]


def between(flow: Mapping[str, tuple[str, ...] | None], addresses: Collection[str]) -> dict[str, set[str] | None]:
    """What each of some addresses reads of these addresses and of the inputs, through the others; None if unknown."""
    memo: dict[str, set[str] | None] = {}

    def read(address: str) -> set[str] | None:
        if address not in memo:
            memo[address] = None
            inputs = flow[address]
            behind = [
                {name} if name in addresses or name.startswith("inputs/") else read(name) for name in inputs or ()
            ]
            if inputs is not None and None not in behind:
                memo[address] = set().union(*behind)
        return memo[address]

    return {address: read(address) for address in addresses}


def leaks(items: Infos) -> dict[str, set[str]]:
    """What the operations inside each layer read although the layer does not say so: the layer level against the other.

    From the output of a layer back through single operations, the tensors that it reads come first, and before them
    only operations of the layer itself.
    """
    wrong: dict[str, set[str]] = {}
    for address, item in items.items():
        if item.inputs is None or item.operands is None:
            continue
        waiting, visited = list(item.operands), set[str]()
        while waiting:
            name = waiting.pop()
            if name in visited or name in item.inputs:
                continue
            visited.add(name)
            if not name.startswith((f"{item.layer}:", f"{item.layer}.")):
                wrong.setdefault(address, set()).add(name)
            else:
                waiting += (items[name].inputs if items[name].operands is None else items[name].operands) or ()
    return wrong


def loose_ends(items: Infos) -> dict[str, list[str]]:
    """What does not come before its reader among the addresses, and is no input."""
    order = {address: number for number, address in enumerate(items)}
    named = {address: (*(item.inputs or ()), *(item.operands or ())) for address, item in items.items()}
    late = {
        address: [
            name for name in names if not name.startswith("inputs/") and order.get(name, 1 << 60) >= order[address]
        ]
        for address, names in named.items()
    }
    return {address: names for address, names in late.items() if names}
