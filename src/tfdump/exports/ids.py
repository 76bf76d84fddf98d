"""Who the examples of a dump are, for exports: the names of the rows of a tensor, and arrays of names and classes."""

from collections.abc import Iterator
from itertools import repeat

from tfdump.dtypes import STRING
from tfdump.dump import layout
from tfdump.dump.axis0 import EXAMPLE
from tfdump.dump.examples import StoredExamples
from tfdump.dump.reader import Dump
from tfdump.dump.slicing import Axis
from tfdump.dump.tensor import Tensor
from tfdump.dump.view import MemoryPart, View
from tfdump.errors import DumpError
from tfdump.exports.arrays import Exported

_ID, _LABEL, CLASSES = (
    f"{layout.EXAMPLES}/{name}" for name in (layout.EXAMPLE_ID, layout.EXAMPLE_LABEL, layout.EXAMPLE_CLASSES)
)
IDENTITY = (_ID, _LABEL, CLASSES)
"""The names of the arrays that say who the examples are."""


def names_of_rows(dump: Dump, tensor: Tensor) -> StoredExamples | None:
    """Return the names of the rows of a tensor; None where they have none, or are not those of examples."""
    examples = dump.examples
    by_example = tensor.attributes.get("axis0") == EXAMPLE and tensor.shape[:1] == (len(examples or ()),)
    return examples if by_example else None


def names_apart(dump: Dump, exported: Exported) -> StoredExamples | None:
    """Return the names of the rows of the loss, or of the labels of examples; None where they have none."""
    view = exported.views[""]
    return dump.examples if exported.axis0 == EXAMPLE and view.shape == (len(dump.examples or ()),) else None


def named_examples(dump: Dump) -> StoredExamples:
    """Return who the examples are; raises DumpError for a dump that does not tell."""
    if dump.examples is None:
        raise DumpError(f"{dump.name} does not tell the names of its examples (leave --ids out)")
    return dump.examples


def exported_examples(examples: StoredExamples, rows: range | None = None) -> list[Exported]:
    """Return the names of some examples, or of all, their classes as numbers, and the names of all classes."""
    rows = range(len(examples)) if rows is None else rows
    axes = (Axis(rows.start, len(rows), rows.step),)
    exported = [Exported(_ID, layout.EXAMPLE_ID, {"": View(examples.part, axes)}, dtype=STRING, axis0=EXAMPLE)]
    if examples.labels is not None:
        view = View(MemoryPart(examples.labels), axes)
        exported.append(Exported(_LABEL, layout.EXAMPLE_LABEL, {"": view}, dtype="int64", axis0=EXAMPLE))
    if examples.class_part is not None:
        exported.append(Exported(CLASSES, layout.EXAMPLE_CLASSES, {"": View(examples.class_part)}, dtype=STRING))
    return exported


def examples_beside(tensor: Exported) -> list[Exported]:
    """Return who the examples of an exported tensor are, for the rows that it has; nothing without its `ids`."""
    if tensor.ids is None:
        return []
    view = tensor.views.get("")
    return exported_examples(tensor.ids, None if view is None else view.rows)


def exported_identity(dump: Dump, address: str) -> Exported | None:
    """Return the array of names, labels or classes that has this address, or None if there is none."""
    if address not in (_ID, _LABEL, CLASSES) or dump.examples is None:
        return None
    return next((one for one in exported_examples(dump.examples) if one.name == address), None)


def names_of_lines(examples: StoredExamples, view: View) -> Iterator[str]:
    """Yield the name of the example to which each index of the first axis of a view belongs."""
    rows = view.rows if view.has_rows else repeat(view.rows[0] if view.rows else 0)
    return map(examples.name, rows)
