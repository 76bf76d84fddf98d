"""The examples of one or several TFRecord files, as rows."""

from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt

from tfdump.errors import InputError
from tfdump.inputs.file_lists import FileList
from tfdump.inputs.records.framing import RecordFile
from tfdump.inputs.records.protocol_buffers import ExampleError, Feature, parse_example
from tfdump.process.signals import raise_waiting

_BLOCK_BYTES = 8 << 20
"""Bytes of records that are looked at together in a pass over all of them."""

_BLOCK_ROWS = 1 << 14
ADVICE = "--skip-damaged leaves such records out"
"""What to do about a damaged record."""

Examples = list[dict[str, Feature]]


class RecordSet:
    """The records of some files as rows, without damaged ones where `skip_damaged`; `skipped` names these.

    Raises InputError where no record is left, and for damaged ones without `skip_damaged`: when they are read, and at
    once where records cannot be found.
    """

    def __init__(self, files: FileList, skip_damaged: bool) -> None:
        self.label = files.label
        self._list = files
        self._skipped: dict[tuple[int, int], str] = {}  # the reasons by the file and the number of the record
        self._files = []
        self._rows: list[npt.NDArray[np.int64] | None] = []
        for place in range(len(files)):
            raise_waiting()
            self._files.append(RecordFile(files.path(place)))
            self._rows.append(self._good(place) if skip_damaged else None)
            self._check_end(place, skip_damaged)
        self._count()

    def _count(self) -> None:
        """Number the rows; raises InputError where there is none."""
        counts = [len(file) if rows is None else len(rows) for file, rows in zip(self._files, self._rows, strict=True)]
        self._firsts = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])
        self._block: tuple[tuple[int, int], Examples] | None = None
        if not len(self):
            why = f": {self.skipped[0][0]} is damaged, {self.skipped[0][1]}" if self._skipped else ""
            raise InputError(f"{self.label} has no records{why}")

    @property
    def skipped(self) -> list[tuple[str, str]]:
        """The names of the records that are left out, with the reasons."""
        ordered = sorted(self._skipped.items())
        return [(f"{self._list.name(place)}:{number}", reason) for (place, number), reason in ordered]

    @property
    def notes(self) -> list[str]:
        """What the user should know of the files."""
        return [*self._list.notes, *([self._about_skipped()] if self._skipped else [])]

    def leave_out(self, damaged: Mapping[int, str]) -> None:
        """Leave out some rows, for these reasons; the others get new numbers. Raises InputError where none is left."""
        for place, first in enumerate(self._firsts[:-1]):
            numbers = self._numbers(place)
            bad = [row - int(first) for row in damaged if first <= row < self._firsts[place + 1]]
            for row in bad:
                self._skipped[place, int(numbers[row])] = damaged[row + int(first)]
            if bad:
                self._rows[place] = np.delete(numbers, bad)
        if damaged:
            self._count()

    def _numbers(self, place: int) -> npt.NDArray[np.int64]:
        """Return the numbers of the records of a file that are rows."""
        rows = self._rows[place]
        return np.arange(len(self._files[place])) if rows is None else rows

    def __len__(self) -> int:
        return int(self._firsts[-1])

    def read_names(self, start: int, stop: int) -> list[str]:
        """Return the names of rows: `train.tfrecord:17`, counted in the file from 0."""
        return [
            f"{self._list.name(place)}:{number}"
            for place, numbers in self._parts(start, min(stop, len(self)))
            for number in numbers
        ]

    def place(self, row: int) -> str:
        """Return where the record of a row is, for messages."""
        ((place, numbers),) = self._parts(row, row + 1)
        return self._place(place, int(numbers[0]))

    def read(self, start: int, stop: int) -> Examples:
        """Return the examples from `start` up to `stop`; those read last stay in memory for the next caller."""
        if self._block is None or self._block[0] != (start, stop):
            self._block = None
            self._block = (start, stop), self._read(start, stop)
        return self._block[1]

    def each_block(self) -> Iterator[tuple[int, Examples]]:
        """Yield all examples, a few megabytes at a time, with the row of the first."""
        for place, first in enumerate(self._firsts[:-1]):
            numbers, row = self._numbers(place), int(first)
            for start, stop in _blocks(self._files[place].sizes()[numbers]):
                raise_waiting()
                yield row + start, self._read(row + start, row + stop)

    def _read(self, start: int, stop: int) -> Examples:
        examples: Examples = []
        for place, numbers in self._parts(start, stop):
            first, last = int(numbers[0]), int(numbers[-1]) + 1
            records, bad = self._files[place].read(first, last)
            for number in numbers.tolist():
                if bad[number - first]:
                    raise InputError(f"{self._place(place, number)} is damaged: its checksum is wrong ({ADVICE})")
                try:
                    examples.append(parse_example(bytes(records[number - first])))
                except ExampleError as cause:
                    raise InputError(f"{self._place(place, number)} cannot be read: {cause} ({ADVICE})") from None
        return examples

    def _parts(self, start: int, stop: int) -> Iterator[tuple[int, npt.NDArray[np.int64]]]:
        """Yield the files of some rows, by their places, with the numbers of their records."""
        place = int(np.searchsorted(self._firsts, start, "right")) - 1
        while start < stop:
            first, end = int(self._firsts[place]), int(self._firsts[place + 1])
            last = min(stop, end)
            if last > start:
                rows = self._rows[place]
                numbers = np.arange(start - first, last - first)
                yield place, numbers if rows is None else rows[numbers]
                start = last
            place += 1

    def _place(self, place: int, number: int) -> str:
        file = self._files[place]
        return f"record {number} of {file.path} (at byte {file.offset(number)})"

    def _good(self, place: int) -> npt.NDArray[np.int64]:
        """Return the numbers of the records of a file that can be read; all of them are read for that."""
        file, good = self._files[place], []
        for start, stop in _blocks(file.sizes()):
            raise_waiting()
            records, bad = file.read(start, stop)
            for number, record in enumerate(records, start):
                reason = "its checksum is wrong" if bad[number - start] else _problem(bytes(record))
                if reason is None:
                    good.append(number)
                else:
                    self._skipped[place, number] = reason
        return np.array(good, np.int64)

    def _check_end(self, place: int, skip_damaged: bool) -> None:
        """Raise InputError where a file ends too early, or note it."""
        file = self._files[place]
        if file.damage is None:
            return
        number, offset, reason = file.damage.number, file.damage.offset, file.damage.reason
        if not skip_damaged:
            raise InputError(
                f"record {number} of {file.path} (at byte {offset}) is damaged: {reason} "
                "(--skip-damaged leaves it out, and all behind it)"
            )
        self._skipped[place, number] = f"{reason}, so nothing behind it is read"

    def _about_skipped(self) -> str:
        name, reason = self.skipped[0]
        if len(self._skipped) == 1:
            return f"a damaged record in {self.label} is left out: {name} ({reason})"
        return f"{len(self._skipped):,} damaged records in {self.label} are left out; the first: {name} ({reason})"


def _problem(record: bytes) -> str | None:
    """Return why a record is no example, or None."""
    try:
        parse_example(record)
    except ExampleError as cause:
        return str(cause)
    return None


def _blocks(sizes: npt.NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Yield the bounds of neighbors that take a few megabytes together, or of one that takes more."""
    ends = np.cumsum(sizes)
    start = 0
    while start < len(sizes):
        before = int(ends[start - 1]) if start else 0
        stop = int(np.searchsorted(ends, before + _BLOCK_BYTES, "right"))
        stop = min(max(stop, start + 1), start + _BLOCK_ROWS)
        yield start, stop
        start = stop
