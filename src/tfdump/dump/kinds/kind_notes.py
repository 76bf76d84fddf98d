"""Notes about tensors that are not as planned, and the names by which notes call tensors."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from tfdump.dump import layout
from tfdump.dump.kinds.tensor_kind import Departure, TensorKind
from tfdump.tensors import Note, listed


def tell_kinds(kinds: Iterable[tuple[str, TensorKind]], batches: int, note: Note) -> list[str]:
    """Tell which tensors are not as planned; return the names of those whose values depend on the batches.

    `kinds` are pairs of a tensor's name and its kind.
    """
    departed: dict[Departure, list[str]] = {}
    varied: dict[int, list[str]] = {}
    uneven: dict[int, list[str]] = {}
    widened: dict[tuple[str, str, int, str], list[str]] = {}
    for name, kind in kinds:
        if kind.lost is not None:
            continue
        if kind.departure is not None:
            batch = (kind.departure.batch - 1) % batches + 1  # the batches of every step are counted
            departed.setdefault(replace(kind.departure, batch=batch), []).append(name)
        if kind.varied:
            varied.setdefault(kind.varied, []).append(name)
        if kind.uneven:
            uneven.setdefault((kind.uneven - 1) % batches + 1, []).append(name)
        if kind.widened is not None:
            first, later, batch = kind.widened
            widened.setdefault((first, later, batch, kind.info.dtype), []).append(name)
    for (first, later, batch, wide), names in widened.items():
        note(
            f"stored as {wide}, because they are {first} in the first batches and {later} in batch {batch} of "
            f"{batches}: {listed_layers(names)}"
        )
    for departure, names in departed.items():
        rows = "no rows" if departure.rows < 0 else _counted(departure.rows, "row")
        note(
            f"stored batch by batch, because they have no row per example (batch {departure.batch} of {batches} has "
            f"{rows} for {_counted(departure.examples, 'example')}): {listed_layers(names)}"
        )
    for batch, names in varied.items():
        note(
            f"stored batch by batch, because they are constant in the first batches only (batch {batch} of {batches} "
            f"has other values): {listed_layers(names)}"
        )
    for batch, names in uneven.items():
        note(
            f"stored batch by batch, because the rows of their batches differ in shape (first in batch {batch} of "
            f"{batches}): {listed_layers(names)}"
        )
    return [name for by_cause in (departed, varied, uneven) for names in by_cause.values() for name in names]


def tell_changes(kinds: Sequence[tuple[str, TensorKind]], batches: int, note: Note) -> list[str]:
    """Tell the same about activations, outputs and inputs, given as pairs of group and kind."""
    changed = [(group, kind) for group, kind in kinds if kind.depends_on_batch or kind.widened is not None]
    by_name = {name_of_tensor(group, kind.info.address): kind for group, kind in changed}
    named = names_of_tensors([(group, kind.info.address) for group, kind in changed])
    return tell_kinds([(name, by_name[name]) for name in named], batches, note)


def from_padding(tensors: Sequence[tuple[str, str]], depends_on_batch: Sequence[str]) -> list[tuple[str, str]]:
    """Return the tensors (group and address) that mix a padded batch, given the names that depend on the batch."""
    names = {name for name in depends_on_batch if not name.startswith(f"{layout.INPUTS}/")}
    return [
        (group, address)
        for group, address in tensors
        if group != layout.INPUTS and names & {name_of_tensor(group, address), address}
    ]


def name_of_tensor(group: str, address: str) -> str:
    """Return the name of a tensor as `names_of_tensors` spells it."""
    return names_of_tensors([(group, address)])[0]


def names_of_tensors(tensors: Sequence[tuple[str, str]]) -> list[str]:
    """Return the names of tensors, given as pairs of group and address, each tensor once.

    An activation is named by its address. An output is named `outputs/NAME`, and is left out where an activation has
    the same address.
    """
    activations = [address for group, address in tensors if group == layout.ACTIVATIONS]
    others = [f"{group}/{address}" for group, address in tensors if group != layout.ACTIVATIONS]
    known = {f"{layout.OUTPUTS}/{address}" for address in activations}
    return activations + [name for name in others if name not in known]


def listed_layers(names: Sequence[str]) -> str:
    """Return names as a note lists them: the layers, or the outputs where there are no layers among the names."""
    layers = [name for name in names if not name.startswith(f"{layout.OUTPUTS}/")]
    return listed(layers or names)


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
