"""`.parquet`: a table with one column per tensor, written group of rows by group of rows.

A row of a tensor of two axes is a list of fixed length. Polars reads such a column as an array, and pandas and PyTorch
as one array per row. One column per number would take several times as long to write and as long to read
(benchmarks/exports.py), and a table of several tensors would not have their names.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from pyarrow import parquet as arrow_parquet

from tfdump.dump.view import View
from tfdump.exports.arrays import Exported
from tfdump.exports.outbox import Outbox

_GROUP_BYTES = 16 << 20
_TEXT_BYTES = 64
"""About how many bytes a text takes."""


@dataclass(frozen=True)
class _Column:
    name: str
    view: View

    @property
    def width(self) -> int | None:
        """How many values a row has; None if it is a single value and no list."""
        return self.view.shape[1] if len(self.view.shape) > 1 else None

    @property
    def row_bytes(self) -> int:
        """About how many bytes a row takes."""
        return (_TEXT_BYTES if self.view.is_text else self.view.dtype.itemsize) * (self.width or 1)

    @property
    def field(self) -> pa.Field:
        """The name and the type of the column."""
        if self.view.is_text:
            item = pa.binary() if self.view.is_bytes else pa.string()
        else:
            item = pa.from_numpy_dtype(self.view.dtype.newbyteorder("="))
        return pa.field(self.name, item if self.width is None else pa.list_(item, self.width))

    def cells(self, start: int, stop: int) -> pa.Array:
        """Return some rows."""
        values = self.view.between(start, stop).read().reshape(-1)
        kind = self.field.type if self.width is None else self.field.type.value_type
        flat = values.tolist() if self.view.is_text else np.ascontiguousarray(values, values.dtype.newbyteorder("="))
        cells = pa.array(flat, kind)  # NaN is a number, and not an empty cell
        return cells if self.width is None else pa.FixedSizeListArray.from_arrays(cells, self.width)


def parquet(
    tensors: Iterable[Exported], beside: Mapping[str, Exported], metadata: Mapping[str, str]
) -> Iterator[bytes]:
    """Yield the bytes of a table of tensors that have the same number of rows; `beside` has its first columns by name.

    float16 is a half-precision float of Parquet, and what a dump stores as float32, as bfloat16, is float32.
    """
    named = {**beside, **{tensor.name: tensor for tensor in tensors}}
    columns = [_Column(name, tensor.views[""]) for name, tensor in named.items()]
    rows = columns[0].view.shape[0]
    described = {"dtype": json.dumps({name: tensor.dtype for name, tensor in named.items()}, ensure_ascii=False)}
    schema = pa.schema([column.field for column in columns], {**metadata, **described})
    plain = list(beside)
    step = 1 << (max(1, _GROUP_BYTES // sum(column.row_bytes for column in columns)).bit_length() - 1)
    outbox = Outbox()
    # Dictionaries and statistics of features take longer than the values, and no reader has a use for them.
    options = {"compression": "snappy", "use_dictionary": plain, "write_statistics": plain}
    with arrow_parquet.ParquetWriter(outbox, schema, **options) as writer:
        for start in range(0, rows, step):
            stop = min(start + step, rows)
            cells = [column.cells(start, stop) for column in columns]
            writer.write_table(pa.Table.from_arrays(cells, schema=schema), row_group_size=step)
            yield outbox.take()
    yield outbox.take()
