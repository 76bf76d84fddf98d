"""Writing the dump of one example, as a search found it in its batch."""

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from tfdump.dump import layout
from tfdump.dump.examples import one_line
from tfdump.dump.kinds.kind_notes import names_of_tensors, tell_kinds
from tfdump.inputs.source import Source
from tfdump.run.activations.plan import ActivationPlan
from tfdump.run.activations.search import BadExample, stored_plan
from tfdump.run.activations.write import AbsentTensors, OpenDump, complete_dump, open_sinks
from tfdump.run.options import StoreOptions
from tfdump.run.output import data_attributes
from tfdump.run.sinks import stored_bytes
from tfdump.run.tensor_notes import tell_padding
from tfdump.tensors import Note

if TYPE_CHECKING:
    from tfdump.model.runnable import RunnableProbe


def write_example(
    example: BadExample, probe: "RunnableProbe", source: Source, plan: ActivationPlan, dump: OpenDump
) -> None:
    """Write the tensors of one example of the `source` that was searched, and the attributes that record the search.

    `plan` is that of the search. The dump stores the inputs too.
    """
    part = source.part(example.number, example.number + 1)
    one = stored_plan(plan, example)
    sinks = open_sinks(part, one, dump)
    for sink, item in zip(sinks, example.tensors, strict=True):
        if item.value is not None:
            sink.add(item.value, 1)
    depends_on_batch = plan.depends_on_batch + _tell_kinds(example, plan, dump.note)
    if not example.named:
        last = source.first_example + example.stop - 1
        names = [source.example_id(place) for place in (example.start, example.stop - 1)]
        files = "" if names[0] is None else f" ({one_line(names[0])} to {one_line(str(names[1]))})"
        dump.note(
            "the bad values belong to the whole batch, so no example can be named: the dump holds the first one of "
            f"examples {part.first_example} to {last}{files}"
        )
    described = {
        **dump.root,
        **data_attributes(part),
        "first_example": np.int64(part.first_example),
        layout.SEARCHED_EXAMPLES: np.int64(example.stop),
        layout.BATCH_FIRST_EXAMPLE: np.int64(source.first_example + example.start),
        "batch_size": np.int64(plan.batch_size),
        "examples": np.int64(1),
    }
    from_padding = tell_padding(source, sinks, one, depends_on_batch, dump.note)
    absent = AbsentTensors(probe.not_captured, example.late)
    complete_dump(sinks, part, one, replace(dump, root=described), depends_on_batch, from_padding, absent)


def bytes_of_example(example: BadExample, store: StoreOptions) -> int:
    """Return about how many bytes the values of one example will take without compression."""
    values = [(item.value, item.kind.axis0) for item in example.tensors if item.value is not None]
    return sum(stored_bytes(value, axis0, 1, store) for value, axis0 in values)


def _tell_kinds(example: BadExample, plan: ActivationPlan, note: Note) -> list[str]:
    """Tell which tensors were not as planned in the batches so far; return the names of those that mix examples."""
    changed = [item for item in example.tensors if item.kind.depends_on_batch or item.kind.widened is not None]
    pairs = [(item.planned.group, item.planned.info.address) for item in changed]
    kinds = {names_of_tensors([pair])[0]: item.kind for pair, item in zip(pairs, changed, strict=True)}
    return tell_kinds([(name, kinds[name]) for name in names_of_tensors(pairs)], len(plan.batches), note)
