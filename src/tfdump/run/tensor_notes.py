"""Notes at the end of a run: tensors that are not as planned, and values that storing changed."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from tfdump.dump import layout
from tfdump.inputs.source import Source
from tfdump.run.activations.plan import ActivationPlan
from tfdump.run.dependence import listed_layers, names_of_tensors
from tfdump.run.options import StoreOptions
from tfdump.run.sinks import TensorSink
from tfdump.run.tensor_kind import Departure, TensorKind
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


def tell_changes(sinks: Sequence[TensorSink], plan: ActivationPlan, note: Note) -> list[str]:
    """Tell the same about the sinks of activations and outputs."""
    changed = [sink for sink in sinks if sink.kind.depends_on_batch or sink.kind.widened is not None]
    named = names_of_tensors([(sink.group, sink.info.address) for sink in changed])
    kinds = {_name(sink): sink.kind for sink in changed}
    return tell_kinds([(name, kinds[name]) for name in named], plan.batches.in_whole_run, note)


def tell_padding(
    source: Source, sinks: Sequence[TensorSink], plan: ActivationPlan, depends_on_batch: Sequence[str], note: Note
) -> list[TensorSink]:
    """Tell which tensors of a padded last batch were computed from the copies too; return their sinks."""
    if not plan.padding:
        return []
    names = {name for name in depends_on_batch if not name.startswith(f"{layout.INPUTS}/")}
    mixing = [sink for sink in sinks if sink.group != layout.INPUTS and names & {_name(sink), sink.info.address}]
    if mixing:
        named = names_of_tensors([(sink.group, sink.info.address) for sink in mixing])
        note(f"computed from the copies too, because they mix the examples of a batch: {listed_layers(named)}")
    if source.examples == 1:
        note("one example cannot show which tensors mix it with its copies (give more examples)")
    return mixing


def tell_storing(sinks: Sequence[TensorSink], store: StoreOptions, note: Note) -> None:
    """Tell which tensors `--reduce` and `--dtype` did not store as expected."""
    captured = [sink for sink in sinks if sink.group != layout.INPUTS]
    if store.reduction is not None:
        whole = [sink.info.address for sink in captured if not sink.reduced]
        if whole:
            note(f"stored whole, because they do not have the axes of --reduce {store.reduction}: {listed(whole)}")
        wide = [sink.info.address for sink in captured if sink.reduced and sink.widens and store.dtype is None]
        if wide:
            note(
                f"stored as float32, because the results of --reduce {store.reduction} may not fit into the dtype: "
                f"{listed(wide)}"
            )
    overflowed = sum(sink.overflowed for sink in sinks)
    if overflowed:
        note(f"{overflowed} finite values are too large for --dtype {store.dtype} and became infinite")
    unfit = [sink.info.address for sink in sinks if sink.unfit]
    if unfit:
        note(
            f"some results of --reduce {store.reduction} do not fit into the stored dtype, and became infinite or its "
            f"largest integer: {listed(unfit)}"
        )


def _name(sink: TensorSink) -> str:
    """Return the name of a tensor as `names_of_tensors` spells it."""
    return names_of_tensors([(sink.group, sink.info.address)])[0]


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
