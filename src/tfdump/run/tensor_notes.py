"""Notes at the end of a run: tensors that were computed from padding, and values that storing changed."""

from collections.abc import Sequence

from tfdump.dump import layout
from tfdump.dump.kinds.kind_notes import from_padding, listed_layers, names_of_tensors
from tfdump.inputs.source import Source
from tfdump.run.activations.plan import ActivationPlan
from tfdump.run.options import StoreOptions
from tfdump.run.sinks import TensorSink
from tfdump.tensors import Note, listed


def tell_padding(
    source: Source, sinks: Sequence[TensorSink], plan: ActivationPlan, depends_on_batch: Sequence[str], note: Note
) -> list[TensorSink]:
    """Tell which tensors of a padded last batch were computed from the copies too; return their sinks."""
    if not plan.padding:
        return []
    tensors = from_padding([(sink.group, sink.info.address) for sink in sinks], depends_on_batch)
    if tensors:
        named = names_of_tensors(tensors)
        note(f"computed from the copies too, because they mix the examples of a batch: {listed_layers(named)}")
    if source.examples == 1:
        note("one example cannot show which tensors mix it with its copies (give more examples)")
    return [sink for sink in sinks if (sink.group, sink.info.address) in tensors]


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
