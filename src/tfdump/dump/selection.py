"""Choosing among the tensors of a dump, by the patterns that choose layers."""

from collections.abc import Iterable

from tfdump.address import Candidate, Pattern, Selection
from tfdump.dump.reader import Dump
from tfdump.dump.tensor import Tensor
from tfdump.errors import DumpError
from tfdump.files.paths import as_argument

_PATTERN_STARTS = ("re:", "type:")
_MOST_NAMED = 4


def choose(dump: Dump, selection: Selection) -> list[Tensor]:
    """Return the selected tensors in the order of the dump; raises SelectionError for what matches nothing.

    A pattern matches the address, or group and address (`outputs/*`); `type:` matches the class that made a tensor,
    and none of its bases, which a dump does not know.
    """
    tensors = list(dump.tensors())
    candidates = [_candidate(tensor) for tensor in tensors]
    return [tensors[n] for n in selection.choose(candidates, remedy=f"list them: tfdump show {as_argument(dump.name)}")]


def tensor_at(dump: Dump, text: str) -> Tensor:
    """Return the tensor of an address, or the only one whose address ends in `text`: `kernel`, `attention_scores`.

    What stands before such an end is a segment or the layer: the end begins behind a `.`, `:` or `/`. Raises DumpError
    where no tensor, or more than one, is meant.
    """
    try:
        return dump[text]
    except DumpError:
        names = [f"{group}/{name}" for group, names in dump.groups.items() for name in names]
        meant = [name for name in names if text and name.endswith(tuple(before + text for before in ".:/"))]
        if not meant:
            raise
    if len(meant) > 1:
        some = ", ".join(f"'{name}'" for name in meant[:_MOST_NAMED]) + (", ..." if len(meant) > _MOST_NAMED else "")
        raise DumpError(f"{dump.name} has {len(meant)} tensors that end in '{text}': {some} (write one of them out)")
    return dump[meant[0]]


def find(dump: Dump, addresses: Iterable[str]) -> list[Tensor]:
    """Return the tensors of these addresses, each once, as `tensor_at` does; one with `*` or `?` may be a glob."""
    found: dict[str, Tensor] = {}
    for address in addresses:
        for tensor in _matching(dump, address):
            found.setdefault(f"{tensor.group}/{tensor.address}", tensor)
    return list(found.values())


def _matching(dump: Dump, address: str) -> list[Tensor]:
    try:
        return [tensor_at(dump, address)]
    except DumpError:
        if not (set("*?") & set(address) or address.startswith(_PATTERN_STARTS)):
            raise
    pattern = Pattern(address)
    matching = [tensor for tensor in dump.tensors() if pattern.selects(_candidate(tensor))]
    if not matching:
        remedy = f"list them: tfdump show {as_argument(dump.name)}"
        raise DumpError(f"{dump.name} has no tensor that matches '{address}' ({remedy})")
    return matching


def _candidate(tensor: Tensor) -> Candidate:
    classes = (str(tensor.attributes.get("class", "")),)
    full = Candidate(f"{tensor.group}/{tensor.address}".replace("/", "."), classes)
    return Candidate(tensor.address, classes, (full,), tensor.attributes.get("layer") or None)
