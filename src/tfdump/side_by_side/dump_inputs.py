"""Whether a dump was made with the inputs that a model is run on now."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tfdump.comparison.examples.same_examples import first_difference
from tfdump.comparison.examples.side_examples import RowsFrom, SideExamples
from tfdump.dtypes import kind_of
from tfdump.dump import layout
from tfdump.dump.examples import one_line
from tfdump.dump.reader import Dump, Tensor
from tfdump.errors import DumpError
from tfdump.files.byte_strings import decoded_text
from tfdump.files.hdf5 import damage
from tfdump.files.paths import as_argument
from tfdump.inputs.identity import ExampleIdentity
from tfdump.inputs.source import Source

_ROWS = 64
"""Rows of saved inputs that are compared at once."""


def rows_of_dump(dump: Dump, source: Source, ignore_ids: bool = False) -> int:
    """Return the row of a dump that belongs to the first example of a source; with `ignore_ids`, whatever its name.

    Raises DumpError where the dump is of another kind, lacks some of the examples, was made with other examples or
    inputs, or does not tell with which.
    """
    attributes = dump.attributes
    if attributes.get("kind") != layout.ACTIVATIONS:
        raise DumpError(
            f"{dump.name} is a dump of {attributes.get('kind')}, and models are compared by their activations "
            f"(compare it with a dump: tfdump diff {as_argument(dump.name)} OTHER)"
        )
    start, count = int(attributes.get("first_example", 0)), int(attributes.get("examples", 0))
    offset = source.first_example - start
    _check_range(dump, source, start, count)
    names_agree = not ignore_ids and _names_agree(dump, source, offset)
    if not (_hashes_agree(dump, source, offset, count) or _saved_inputs_agree(dump, source, offset) or names_agree):
        raise DumpError(
            f"{dump.name} does not tell with which inputs it was made (dump its model again, with this version of "
            "tfdump or with --save-inputs)"
        )
    return offset


def _check_range(dump: Dump, source: Source, start: int, count: int) -> None:
    """Raise DumpError where a dump of `count` examples from `start` on does not have all examples of the source."""
    first, last = source.first_example, source.first_example + source.examples
    if (
        start <= first
        and last <= start + count
        and (dump.attributes.get("stats_only") is not True or last - first == count)
    ):
        return
    raise DumpError(
        f"{dump.name} was made with examples {start} to {start + count - 1}, and the inputs have {first} to {last - 1} "
        f"(--examples {start}:{start + count} takes those of the dump)"
    )


@dataclass(frozen=True)
class IdentityNames:
    """The names of the examples of a source, as a dump of them has them: what is not UTF-8 is escaped."""

    identity: ExampleIdentity

    def read(self, start: int, stop: int) -> list[str]:
        """Return the names of the examples from `start` up to `stop`."""
        names = self.identity.read(start, stop)
        return [decoded_text(name.encode("utf-8", "surrogateescape")) for name in names]


def _names_agree(dump: Dump, source: Source, offset: int) -> bool:
    """Compare the names of all examples of the source; False where one side has none."""
    if dump.examples is None or source.identity is None:
        return False
    stored = SideExamples(RowsFrom(dump.examples, offset), source.examples)
    fed = SideExamples(IdentityNames(source.identity), source.examples)
    row = first_difference(stored, fed)
    if row is None:
        return True
    raise DumpError(
        f"{dump.name} was made with other examples: example {source.first_example + row} is "
        f"'{one_line(stored.name(row))}' there and '{one_line(fed.name(row))}' in the inputs (give the inputs that it "
        "was made with, dump its model again, or compare row by row with --ignore-ids)"
    )


def _hashes_agree(dump: Dump, source: Source, offset: int, count: int) -> bool:
    """Compare the hashes of the first examples of the dump; False where it has none, or the arrays end before."""
    text = dump.attributes.get(layout.INPUTS_SHA256)
    needed = source.first_example - offset + min(layout.SAMPLED_EXAMPLES, count)
    if text is None or any(column.examples < needed for column in source.columns):
        return False
    with damage(DumpError, f"{dump.name}: {layout.INPUTS_SHA256}"):
        hashes = sorted(str(one) for one in json.loads(text))
    if hashes != sorted(source.part(-offset, count - offset).hashes(layout.SAMPLED_EXAMPLES)):
        raise _other_inputs(dump)
    return True


def _saved_inputs_agree(dump: Dump, source: Source, offset: int) -> bool:
    """Compare the inputs that the dump holds; False where it has none, or has them in another form."""
    names = dump.groups.get(layout.INPUTS, [])
    columns = {column.name: column for column in source.columns}
    saved = _in_order(names, list(columns))
    if not saved:
        return False
    tensors = [(name, dump[f"{layout.INPUTS}/{old}"]) for old, name in saved]
    if not all(_is_comparable(tensor, columns[name].dtype) for name, tensor in tensors):
        return False
    for start in range(0, source.examples, _ROWS):
        stop = min(start + _ROWS, source.examples)
        for name, tensor in tensors:
            fed, rows = source.read_column(name, start, stop), tensor[offset + start : offset + stop]
            if rows.shape != fed.shape or not np.array_equal(rows, fed, equal_nan=rows.dtype.kind in "fc"):
                raise _other_inputs(dump)
    return True


def _in_order(saved: Sequence[str], names: Sequence[str]) -> list[tuple[str, str]]:
    """Pair the inputs of a dump with those of a model: by name, or else in order."""
    if len(saved) != len(names):
        return []
    return [(name, name) for name in saved] if set(saved) == set(names) else list(zip(saved, names, strict=True))


def _is_comparable(tensor: Tensor, dtype: str) -> bool:
    return tensor.encoding is None and tensor.has_values and tensor.dtype == dtype and kind_of(dtype) != "S"


def _other_inputs(dump: Dump) -> DumpError:
    return DumpError(
        f"{dump.name} was made with other inputs, so its values cannot be compared (give the inputs that it was made "
        "with, or dump its model again)"
    )
