"""Choosing among the tensors of a dump, by the patterns that choose layers."""

from collections.abc import Iterable

from tfdump.address import Candidate, Pattern, Selection
from tfdump.dump.reader import Dump
from tfdump.dump.tensor import Tensor
from tfdump.errors import DumpError

_PATTERN_STARTS = ("re:", "type:")


def choose(dump: Dump, selection: Selection) -> list[Tensor]:
    """Return the selected tensors in the order of the dump; raises SelectionError for what matches nothing.

    A pattern matches the address, or group and address (`outputs/*`); `type:` matches the class that made a tensor,
    and none of its bases, which a dump does not know.
    """
    tensors = list(dump.tensors())
    candidates = [_candidate(tensor) for tensor in tensors]
    return [tensors[n] for n in selection.choose(candidates, remedy=f"list them: tfdump show {dump.name}")]


def find(dump: Dump, addresses: Iterable[str]) -> list[Tensor]:
    """Return the tensors of these addresses, each once; an address with `*` or `?` that is none is a glob."""
    found: dict[str, Tensor] = {}
    for address in addresses:
        for tensor in _matching(dump, address):
            found.setdefault(f"{tensor.group}/{tensor.address}", tensor)
    return list(found.values())


def _matching(dump: Dump, address: str) -> list[Tensor]:
    try:
        return [dump[address]]
    except DumpError:
        if not (set("*?") & set(address) or address.startswith(_PATTERN_STARTS)):
            raise
    pattern = Pattern(address)
    matching = [tensor for tensor in dump.tensors() if pattern.selects(_candidate(tensor))]
    if not matching:
        raise DumpError(f"{dump.name} has no tensor that matches '{address}' (list them: tfdump show {dump.name})")
    return matching


def _candidate(tensor: Tensor) -> Candidate:
    classes = (str(tensor.attributes.get("class", "")),)
    full = Candidate(f"{tensor.group}/{tensor.address}".replace("/", "."), classes)
    return Candidate(tensor.address, classes, (full,), tensor.attributes.get("layer") or None)
