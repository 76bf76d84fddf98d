"""Selects tensors of a dump by the patterns that select layers of a model."""

from collections.abc import Iterable

from tfdump.address import Candidate, Pattern, Selection
from tfdump.dump.attributes import Named, full_name
from tfdump.dump.layout import OPERATION
from tfdump.dump.reader import Dump
from tfdump.dump.tensor import Tensor
from tfdump.errors import DumpError
from tfdump.files.paths import as_argument

_PATTERN_STARTS = ("re:", "type:")
_MOST_NAMED = 4


def candidate_for(*tensors: Named) -> Candidate:
    """Return what patterns match for one tensor, or for two tensors that a comparison has paired.

    A pattern matches the address (`hidden.kernel`), the group and the address (`outputs/logits`), or the layer that
    the tensor belongs to (`hidden`). `type:` matches the class of that layer, but none of its base classes, because a
    dump does not know them, and the type of the operation that computed the tensor. The depth is that of the first
    tensor's layer.
    """
    kinds = ("class", OPERATION)
    classes = tuple(str(tensor.attributes[kind]) for kind in kinds for tensor in tensors if kind in tensor.attributes)
    addresses = [tensor.address for tensor in tensors]
    paths = [full_name(tensor) for tensor in tensors]
    layers = [str(tensor.attributes.get("layer") or tensor.address) for tensor in tensors]
    first, *others = dict.fromkeys(name.replace("/", ".") for name in (*addresses, *paths, *layers))
    return Candidate(first, classes, tuple(Candidate(name, classes) for name in others), layers[0])


def choose(dump: Dump, selection: Selection) -> list[Tensor]:
    """Return the selected tensors in the order of the dump; `candidate_for` says what a pattern matches.

    Raises SelectionError for a pattern that matches nothing.
    """
    tensors = list(dump.tensors())
    candidates = [candidate_for(tensor) for tensor in tensors]
    return [tensors[n] for n in selection.choose(candidates, remedy=f"list them: tfdump show {as_argument(dump.name)}")]


def tensor_at(dump: Dump, text: str) -> Tensor:
    """Return the tensor of an address, or the only one whose address ends in `text`: `kernel`, `attention_scores`.

    Such an end starts after a `.`, `:` or `/`. Raises DumpError where no tensor matches, or more than one.
    """
    try:
        return dump[text]
    except DumpError:
        names = [f"{group}/{name}" for group, names in dump.groups.items() for name in names]
        matches = [name for name in names if text and name.endswith(tuple(before + text for before in ".:/"))]
        if not matches:
            raise
    if len(matches) > 1:
        some = ", ".join(f"'{name}'" for name in matches[:_MOST_NAMED])
        some += ", ..." if len(matches) > _MOST_NAMED else ""
        raise DumpError(f"{dump.name} has {len(matches)} tensors that end in '{text}': {some} (write out one of them)")
    return dump[matches[0]]


def find(dump: Dump, addresses: Iterable[str]) -> list[Tensor]:
    """Return the tensors of these addresses, each once, as `tensor_at` does; one with `*` or `?` may be a glob."""
    tensors: dict[str, Tensor] = {}
    for address in addresses:
        for tensor in _matching(dump, address):
            tensors.setdefault(full_name(tensor), tensor)
    return list(tensors.values())


def _matching(dump: Dump, address: str) -> list[Tensor]:
    try:
        return [tensor_at(dump, address)]
    except DumpError:
        if not (set("*?") & set(address) or address.startswith(_PATTERN_STARTS)):
            raise
    pattern = Pattern(address)
    tensors = [tensor for tensor in dump.tensors() if pattern.selects(candidate_for(tensor))]
    if not tensors:
        remedy = f"list them: tfdump show {as_argument(dump.name)}"
        raise DumpError(f"{dump.name} has no tensor that matches '{address}' ({remedy})")
    return tensors
