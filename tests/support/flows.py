"""What feeds what, as listings and dumps tell it, and the means to compare it between formats."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from tfdump.address import Selection
from tfdump.api.arguments import arrays_of
from tfdump.model.loading.load import in_memory, load_model
from tfdump.run.layers import ListedTensor, list_tensors

Flow = dict[str, tuple[str, ...] | None]


def listed(model: Any, x: Any = None) -> dict[str, ListedTensor]:
    """The tensors of a model, or of a model file, by their addresses."""
    loaded = load_model(model, trust=True) if isinstance(model, Path) else in_memory(model)
    arrays = arrays_of(x) if x is not None else ()
    return {item.address: item for item in list_tensors(loaded, arrays, Selection(), lambda text: None).tensors}


def flow(items: Mapping[str, ListedTensor]) -> Flow:
    """What every address reads."""
    return {address: item.inputs for address, item in items.items()}


def between(flow: Flow, addresses: Collection[str]) -> dict[str, set[str] | None]:
    """What each of some addresses reads of these addresses and of the inputs, through the others; None if unknown."""
    memo: dict[str, set[str] | None] = {}

    def read(address: str) -> set[str] | None:
        if address not in memo:
            memo[address] = None
            sources: set[str] = set()
            inputs = flow[address]
            if inputs is None:
                return None
            for name in inputs:
                if name in addresses or name.startswith("inputs/"):
                    sources.add(name)
                else:
                    behind = read(name)
                    if behind is None:
                        return None
                    sources |= behind
            memo[address] = sources
        return memo[address]

    return {address: read(address) for address in addresses}


def leaks(items: Mapping[str, ListedTensor]) -> dict[str, set[str]]:
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
            if name.startswith("inputs/") or not name.startswith((f"{address}:", f"{address}.")):
                wrong.setdefault(address, set()).add(name)
                continue
            waiting += items[name].inputs or () if items[name].operands is None else items[name].operands or ()
    return wrong
