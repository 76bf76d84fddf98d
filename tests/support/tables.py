"""Readers of tables, as a model with certain inputs gets them."""

from collections.abc import Sequence

from tfdump.inputs.arguments import open_arguments
from tfdump.inputs.matching import match
from tfdump.inputs.readers import Reader
from tfdump.inputs.tables.columns_reader import ColumnsReader
from tfdump.tensors import InputSpec


def readers_of(argument: str, specs: Sequence[InputSpec]) -> list[Reader]:
    """Return the readers of the inputs of a model, in their order."""
    return list(match(open_arguments([argument]), specs).values())


def one_matrix(argument: str, columns: int) -> ColumnsReader:
    """Return the reader of the only input of a model, which takes so many numbers; one number has no axis."""
    shape = (None, columns) if columns > 1 else (None,)
    (reader,) = readers_of(argument, [InputSpec("x", shape, "float32")])
    assert isinstance(reader, ColumnsReader)
    return reader
