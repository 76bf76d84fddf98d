"""The tensors of a dump that are to be exported: those of some addresses, or all."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from tfdump.address import Selection
from tfdump.dump.layout import LOSS, WEIGHTS
from tfdump.dump.reader import Dump
from tfdump.dump.selection import choose, tensor_at
from tfdump.dump.slicing import Slicing
from tfdump.errors import DumpError
from tfdump.exports.archives import NAMED_ROWS, fitting, misfit, named_by_address, with_identity
from tfdump.exports.arrays import Exported, exported, exported_all, exported_loss
from tfdump.exports.ids import exported_examples, exported_identity, named_examples, names_apart, names_of_rows
from tfdump.tensors import Note


@dataclass(frozen=True)
class ExportForm:
    """How tensors are written: the format, whether `ids` are asked for, and the rows of a file, 0 for all."""

    layout: str
    ids: bool = False
    rows_per_file: int = 0

    @property
    def looks_for_ids(self) -> bool:
        """Whether the names of examples are written: those of a table always, if there are any."""
        return self.ids or self.layout == "parquet"


def tensors_at(dump: Dump, addresses: Sequence[str], slicing: Slicing | None, form: ExportForm) -> list[Exported]:
    """Return the tensors of some addresses, and who the examples are where the format has it beside them.

    Raises DumpError for a tensor that the format cannot hold, and what `tensor_at` and `views_of` raise.
    """
    if form.ids:
        named_examples(dump)
    tensors = {one.name: one for one in (_tensor(dump, address, slicing, form) for address in addresses)}
    for tensor in tensors.values():
        if reason := misfit(tensor, form.layout, bool(form.rows_per_file)):
            raise DumpError(f"'{tensor.address}' {reason}")
    if form.layout not in NAMED_ROWS:
        return list(tensors.values())
    return with_identity(named_by_address(list(tensors.values()), form.layout), form.layout)


def _tensor(dump: Dump, address: str, slicing: Slicing | None, form: ExportForm) -> Exported:
    """Return the tensor of an address, the loss, or who the examples are."""
    apart = None
    if slicing is None and address not in dump:
        apart = exported_loss(dump) if address == LOSS else exported_identity(dump, address)
    if apart is None:
        tensor = tensor_at(dump, address)
        one, names = exported(tensor, slicing), names_of_rows(dump, tensor)
    else:
        one, names = apart, names_apart(dump, apart)
    if form.ids and names is None:
        raise DumpError(f"'{one.address}' does not have one row per example, so --ids names nothing (leave it out)")
    return replace(one, ids=names) if form.looks_for_ids else one


def all_tensors(dump: Dump, selection: Selection, form: ExportForm, note: Note) -> list[Exported]:
    """Return all tensors, or the selected ones, the loss, and who the examples are where the format has it beside them.

    What is left out is noted, and has no arrays. Raises DumpError if nothing remains.
    """
    selected = bool(selection.layers or selection.exclude or selection.max_depth)
    examples = named_examples(dump) if form.ids else dump.examples if form.looks_for_ids else None
    selected_tensors = choose(dump, selection) if selected else list(dump.tensors())
    tensors = [
        replace(one, ids=names_of_rows(dump, tensor) if examples is not None else None)
        for one, tensor in zip(exported_all(selected_tensors), selected_tensors, strict=True)
    ]
    loss = exported_loss(dump)
    if loss is not None and not selected:
        tensors.append(replace(loss, ids=names_apart(dump, loss) if examples is not None else None))
    tensors = fitting(tensors, form.layout, rows_alone=form.layout == "parquet" or bool(form.rows_per_file))
    if not any(tensor.views for tensor in tensors):
        raise DumpError(f"{dump.name} {_nothing(dump, tensors, form)}")
    for tensor in tensors:
        if not tensor.views:
            note(f"left out: '{tensor.name}' {tensor.reason}")
    return tensors if examples is None else [*tensors, *exported_examples(examples)]


def _nothing(dump: Dump, tensors: Sequence[Exported], form: ExportForm) -> str:
    """Return why a format can hold none of the tensors of a dump."""
    if dump.attributes.get("kind") == WEIGHTS and (form.layout == "parquet" or form.rows_per_file):
        what = "a table" if form.layout == "parquet" else "--rows-per-file"
        return f"holds weights, and {what} needs one row per example (write one .safetensors or .npz file instead)"
    reasons = {f"'{tensor.address}' {tensor.reason}" for tensor in tensors}
    return f"holds no values to write{f': {min(reasons)}' if reasons else ''}"
