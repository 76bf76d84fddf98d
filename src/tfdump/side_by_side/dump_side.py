"""A dump as one side of a comparison: its rows are read batch by batch."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from tfdump.comparison.examples.side_examples import RowsFrom, SideExamples
from tfdump.comparison.plain_arrays import plain_item
from tfdump.comparison.sides import Side
from tfdump.dump import layout
from tfdump.dump.axis0 import EXAMPLE, NONE
from tfdump.dump.parts import BLOCK_BYTES, Piecewise, pieces
from tfdump.dump.reader import Dump, Tensor
from tfdump.run.example_axis import rows_at
from tfdump.side_by_side.live_tensors import LiveTensor
from tfdump.tensors import Array, Ragged, Sparse


class RowsPart:
    """Rows of an array of a dump, from `start` up to `stop`, read when they are needed."""

    name = ""

    def __init__(self, part: Piecewise, start: int, stop: int) -> None:
        self.shape = (stop - start, *part.shape[1:])
        self.dtype = part.dtype
        self.is_text = part.is_text
        self.piece_bytes = part.piece_bytes
        self._part = part
        self._start = start

    def keys(self, most_bytes: int = BLOCK_BYTES) -> Iterator[tuple[slice, ...]]:
        """Yield the pieces that together are the rows."""
        return pieces(self.shape, self.dtype.itemsize, None, most_bytes)

    def _moved(self, key: tuple[slice, ...]) -> tuple[slice, ...]:
        rows, *rest = key or (slice(0, self.shape[0]),)
        return (slice(rows.start + self._start, rows.stop + self._start), *rest)

    def read(self, key: Any = ()) -> Array:
        """Return the values of one piece."""
        return self._part.read(self._moved(key))

    def read_into(self, key: tuple[slice, ...], buffer: Array) -> None:
        """Fill an array with the values of one piece."""
        self._part.read_into(self._moved(key), buffer)


class DumpSide:
    """A dump whose first compared example is its row `offset`; `batch_size` is that of the run that made it."""

    def __init__(self, dump: Dump, offset: int) -> None:
        self.name = dump.name
        self.batch_size = int(dump.attributes.get("batch_size", 1))
        self._dump = dump
        self._offset = offset
        self._items: list[tuple[LiveTensor, Tensor]] = []

    def names(self, count: int) -> SideExamples | None:
        """Return the names of the first `count` examples that are compared; None if the dump does not tell."""
        examples = self._dump.examples
        return None if examples is None else SideExamples(RowsFrom(examples, self._offset), count)

    def tensor(self, name: str) -> Tensor:
        """Return a tensor of the dump by its group and address."""
        return self._dump[name]

    def rows(self, name: str, examples: Sequence[int]) -> Array:
        """Return the rows of a tensor for some examples."""
        (part,) = self._dump[name].parts()
        rest = tuple(slice(0, size) for size in part.shape[1:])
        rows = [self._offset + example for example in examples]
        return np.concatenate([part.read((slice(row, row + 1), *rest)) for row in rows])

    def open(self, stop: int, call_size: int) -> Side:
        """Return the side of a comparison, with the values of the first `stop` examples in its tensors.

        `call_size` is the number of examples per call on the other side.
        """
        tensors = [tensor for tensor in self._dump.tensors() if tensor.group != layout.INPUTS]
        self._items = [(LiveTensor(tensor), tensor) for tensor in tensors]
        side = Side(self.name, [live for live, _ in self._items], self._dump)
        side.attributes = {**side.attributes, "examples": stop}
        self.put(0, stop, call_size)
        return side

    def put(self, start: int, stop: int, call_size: int) -> None:
        """Put the values of some examples into the tensors."""
        first, last = self._offset + start, self._offset + stop
        for live, tensor in self._items:
            if not live.has_values:
                live.shape = (stop - start, *tensor.shape[1:]) if live.axis0 == EXAMPLE else tensor.shape
                continue
            if live.axis0 == EXAMPLE:
                self._put_rows(live, tensor, first, last)
            elif live.axis0 == NONE:
                live.put_parts(tensor.parts(), tensor.shape)
            elif self.batch_size != call_size or first % call_size:
                live.trouble = (
                    f"{self.name} has it for batches of {self.batch_size} examples, which are divided otherwise"
                )
            else:
                self._put_calls(live, tensor, first // call_size, -(-last // call_size))

    def _put_rows(self, live: LiveTensor, tensor: Tensor, first: int, last: int) -> None:
        if tensor.encoding is None:
            rows = RowsPart(tensor.parts()[0], first, last)
            live.put_parts([rows], rows.shape)
            return
        whole = tensor.read()
        assert isinstance(whole, (Ragged, Sparse))
        live.put([rows_at(whole, range(first, last))])

    def _put_calls(self, live: LiveTensor, tensor: Tensor, first: int, last: int) -> None:
        if tensor.encoding is None:
            calls = RowsPart(tensor.parts()[0], first, last)
            live.put_parts([calls], calls.shape)
            return
        by_name = {part.name: part for part in tensor.parts()}
        if not all(str(number) in by_name for number in range(first, last)):
            live.trouble = f"{self.name} has it in one piece for all batches"
            return
        item = plain_item(tensor.address, [by_name[str(number)].read() for number in range(first, last)])
        live.put_parts(item.parts(), item.shape)
