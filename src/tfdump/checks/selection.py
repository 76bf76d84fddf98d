"""Which tensors of a dump a selection asks for."""

from collections.abc import Sequence

from tfdump.address import Candidate, Selection
from tfdump.checks.origin import full_name
from tfdump.dump.reader import Dump
from tfdump.dump.tensor import Tensor
from tfdump.files.paths import as_argument


def chosen_tensors(dump: Dump, selection: Selection) -> list[Tensor]:
    """Return the chosen tensors, group by group in the order of execution.

    A tensor is chosen by its address, by that with its group before it (`outputs/logits`), or by its layer.
    Raises SelectionError for a pattern that matches nothing.
    """
    tensors = list(dump.tensors())
    candidates = [_candidate(tensor) for tensor in tensors]
    return [tensors[n] for n in selection.choose(candidates, remedy=f"list them: tfdump show {as_argument(dump.name)}")]


def _candidate(tensor: Tensor) -> Candidate:
    classes: Sequence[str] = (str(tensor.attributes.get("class", "")),)
    layer = str(tensor.attributes.get("layer") or tensor.address)
    ways = (Candidate(full_name(tensor).replace("/", "."), tuple(classes)), Candidate(layer, tuple(classes)))
    return Candidate(tensor.address, tuple(classes), ways, layer)
