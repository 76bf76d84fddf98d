"""A source: arrays matched to the inputs of a model, and read in batches of the dtypes that the model declares."""

from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import numpy as np

from tfdump.byte_sizes import show_bytes
from tfdump.dtypes import STRING, dtype_name, kind_of, numpy_dtype
from tfdump.errors import InputError
from tfdump.files.byte_strings import encoded
from tfdump.files.limits import allowed_bytes, check_bytes
from tfdump.inputs.casting import cast, check_castable, quantize
from tfdump.inputs.identity import ExampleIdentity, NamedReader, identity_of
from tfdump.inputs.preprocessing import PreprocessedReader, Preprocessing
from tfdump.inputs.ragged import RaggedReader
from tfdump.inputs.readers import Hdf5Reader, Reader
from tfdump.inputs.rows_together import remarks_on_rows
from tfdump.tensors import Array, Batch, InputSpec, Note


@dataclass(frozen=True)
class ReadingOptions:
    """How arrays become inputs: the padding of ragged arrays, casts, and which examples are read.

    `float_dtype` is the dtype to which float64 arrays are cast where the model declares none. `preprocess` is done with
    the values before all this.
    """

    pad_value: float = 0
    pad_to: int | None = None
    strict_dtype: bool = False
    examples: tuple[int | None, int | None] = (None, None)
    float_dtype: str = "float32"
    preprocess: tuple[Preprocessing, ...] = ()


class InputColumn:
    """One input of the model, read with the rank, the length and the dtype that the model declares."""

    def __init__(self, spec: InputSpec, reader: Reader, options: ReadingOptions, note: Note) -> None:
        self.name = spec.name
        self.reader = reader
        self.lengths = reader.lengths if isinstance(reader, RaggedReader) else None
        self._spec = spec
        self._one_example = False
        if isinstance(reader, RaggedReader):
            self._pad(reader, options, note)
        stored = reader.stored if isinstance(reader, PreprocessedReader) else reader
        if isinstance(stored, Hdf5Reader) and stored.rereads:
            note(
                f"{reader.label} is compressed in chunks of {stored.chunk_rows} rows, which take "
                f"{show_bytes(stored.band_bytes)}: too much to hold in memory, so chunks are decompressed again for "
                "every batch (store it in chunks of fewer rows)"
            )
        for text in reader.notes if isinstance(reader, NamedReader) else ():
            note(text)
        self.shape = reader.shape
        if spec.shape is not None and len(reader.shape) == len(spec.shape) - 1:
            self._add_axis(spec.shape, note)
        self._check_shape()
        have = dtype_name(reader.dtype)
        self.dtype = spec.dtype or (options.float_dtype if have == "float64" else have)
        self._quantization = spec.quantization if kind_of(have) == "f" else None
        self._check_dtype(have, options, note)

    @property
    def examples(self) -> int:
        """The number of rows."""
        return self.shape[0]

    def read(self, start: int, stop: int) -> Array:
        """Return the rows from `start` up to `stop` in the dtype of the input; text as an object array."""
        rows = self.read_as_stored(start, stop)
        if self.dtype == STRING:
            return rows.astype(object) if rows.dtype.kind in "SU" else rows
        if self._quantization is not None:
            scale, zero_point = self._quantization
            return quantize(rows, scale, zero_point, numpy_dtype(self.dtype), self.reader.label, start)
        return cast(rows, numpy_dtype(self.dtype), self.reader.label, start)

    def read_as_stored(self, start: int, stop: int) -> Array:
        """Return the rows from `start` up to `stop` in the dtype of the file."""
        if self._one_example:
            rows = self.reader.read(0, self.reader.shape[0] if self.reader.shape else 1)
            return rows.reshape(self.shape)[start:stop]
        return self.reader.read(start, stop).reshape(stop - start, *self.shape[1:])

    def example(self, place: int) -> Array:
        """Return one row in the dtype of the file, without padding."""
        rows = self.read_as_stored(place, place + 1)
        return rows if self.lengths is None else rows[:, : int(self.lengths[place])]

    def _add_axis(self, declared: tuple[int | None, ...], note: Note) -> None:
        """Add the axis that an array lacks: it is one example, or its examples are single numbers."""
        shape = self.reader.shape
        if not _fits(shape, declared[1:]) and declared[-1] == 1 and _fits(shape[1:], declared[1:-1]):
            self.shape = (*shape, 1)
            return
        if not _fits(shape, declared[1:]):
            return
        self._one_example = True
        self.shape = (1, *shape)
        note(f"{self.reader.label} has shape {shape}: read as one example of '{self.name}' {_open(declared)}")

    def _pad(self, reader: RaggedReader, options: ReadingOptions, note: Note) -> None:
        declared = self._spec.shape
        fixed = declared[1] if declared is not None and len(declared) > 1 else None
        length = options.pad_to if options.pad_to is not None else fixed
        if length is not None:
            reader.pad_to(length)
        reader.pad_with(options.pad_value, numpy_dtype(self._spec.dtype or dtype_name(reader.dtype)))
        if reader.lengths.size and (reader.lengths != reader.shape[1]).any():
            fill = "''" if dtype_name(reader.dtype) == STRING else f"{options.pad_value:g}"
            note(f"{reader.label} is ragged: padded to {reader.shape[1]} with {fill}")

    def _check_shape(self) -> None:
        declared = self._spec.shape
        if declared is None:
            if not self.shape:
                raise InputError(f"{self.reader.label} is a single number (give an array with one row per example)")
            return
        if not self.shape or not _fits(self.shape[1:], declared[1:]):
            raise InputError(
                f"{self.reader.label} has shape {self.shape}, and the input '{self.name}' takes {_open(declared)}"
                " (? is open; the first axis is the example)"
            )

    def _check_dtype(self, have: str, options: ReadingOptions, note: Note) -> None:
        if have == self.dtype:
            return
        if self._quantization is None:
            check_castable(have, self.dtype, self.reader.label, self.name)
        if options.strict_dtype:
            raise InputError(
                f"{self.reader.label} is {have}, the input '{self.name}' takes {self.dtype}, and --strict-dtype allows "
                "no cast"
            )
        if self._quantization is not None:
            scale, zero_point = self._quantization
            limits = np.iinfo(numpy_dtype(self.dtype))
            least, largest = ((bound - zero_point) * scale for bound in (limits.min, limits.max))
            note(
                f"{self.reader.label} is quantized from {have} to {self.dtype} for the input '{self.name}', with its "
                f"scale {scale:g} and zero point {zero_point} (range: {least:g} to {largest:g})"
            )
            return
        note(f"{self.reader.label} is cast from {have} to {self.dtype} for the input '{self.name}'")


class Source:
    """The inputs of a model as batches; `examples` is how many there are.

    Raises InputError where arrays do not fit the specs or each other.
    """

    def __init__(
        self, specs: Sequence[InputSpec], readers: Mapping[str, Reader], options: ReadingOptions, note: Note
    ) -> None:
        self.columns = [InputColumn(spec, readers[spec.name], options, note) for spec in specs if spec.name in readers]
        counts = {column.reader.label: column.examples for column in self.columns}
        if len(set(counts.values())) > 1:
            listed = ", ".join(f"{label} has {count}" for label, count in counts.items())
            raise InputError(f"the inputs have different numbers of examples: {listed}")
        total = next(iter(counts.values()))
        if total == 0:
            raise InputError(f"{', '.join(counts)} has no examples (the first axis is empty)")
        self._start, stop, _ = slice(*options.examples).indices(total)
        if stop <= self._start:
            shown = ":".join("" if bound is None else str(bound) for bound in options.examples)
            raise InputError(f"--examples {shown} selects none of the {total} examples")
        self.examples = stop - self._start
        self.first_example = self._start
        for text in remarks_on_rows([column.reader for column in self.columns], self._start, stop):
            note(text)

    @property
    def example_bytes(self) -> int:
        """The bytes of one example of all inputs, in the dtype of the file or of the model, whichever is larger."""
        return sum(
            int(np.prod(column.shape[1:], dtype=np.int64))
            * max(column.reader.dtype.itemsize, numpy_dtype(column.dtype).itemsize)
            for column in self.columns
        )

    @property
    def identity(self) -> ExampleIdentity | None:
        """Who the examples are; None for data whose rows have no names."""
        return identity_of([column.reader for column in self.columns], self._start, self._start + self.examples)

    def example_id(self, place: int) -> str | None:
        """Return the name of one example, counted from the first one of the source; None where it has none."""
        identity = self.identity
        return None if identity is None else identity.read(place, place + 1)[0]

    @property
    def skipped(self) -> list[tuple[str, str]]:
        """The names of rows that were left out, with the reasons."""
        named = [column.reader for column in self.columns if isinstance(column.reader, NamedReader)]
        return list(dict.fromkeys(item for reader in named for item in reader.skipped))

    @property
    def settings(self) -> dict[str, dict[str, Any]]:
        """How data became numbers, by the names of the inputs; only of inputs for which there was a choice."""
        named = {c.name: c.reader for c in self.columns if isinstance(c.reader, NamedReader)}
        return {name: dict(reader.settings) for name, reader in named.items() if reader.settings}

    @property
    def lengths(self) -> dict[str, Array]:
        """The lengths of the rows of ragged inputs, by name."""
        stop = self._start + self.examples
        return {c.name: c.lengths[self._start : stop] for c in self.columns if c.lengths is not None}

    def part(self, start: int, stop: int) -> "Source":
        """Return a source of the examples from `start` up to `stop` alone, which reads from the same arrays."""
        part = copy(self)
        part._start, part.examples = self._start + start, stop - start
        part.first_example = part._start
        return part

    def first(self, count: int) -> Batch:
        """Return the first `count` examples; where there are fewer, the last one is repeated."""
        return pad_batch(self.read(0, min(count, self.examples)), count)

    def check_padded(self, count: int) -> None:
        """Raise InputError where a batch of `count` examples, padded to it, takes more than the model may ask for."""
        if count > self.examples:
            _check_padded(self.example_bytes * count, count)

    def read_column(self, name: str, start: int, stop: int) -> Array:
        """Return these examples of one column."""
        column = next(column for column in self.columns if column.name == name)
        return column.read(self._start + start, self._start + stop)

    def hashes(self, most: int) -> list[str]:
        """Return the SHA-256 of the first examples of every input, at most `most`, as they are in the files.

        Equal numbers of different dtypes have equal hashes, so that those of a float and of a quantized model agree.
        """
        places = range(self._start, self._start + min(most, self.examples))
        return [hash_of(column.example(place) for place in places) for column in self.columns]

    def read(self, start: int, stop: int) -> Batch:
        """Return the examples from `start` up to `stop`, counted from the first one of `--examples`."""
        return {column.name: column.read(self._start + start, self._start + stop) for column in self.columns}


def hash_of(examples: Iterable[Array]) -> str:
    """Return the SHA-256 of numbers as float64 or complex128, little endian, or of text; of one array per example."""
    digest = sha256()
    for values in examples:
        if values.dtype.kind in "OSU":
            for item in values.reshape(-1):
                text = encoded(item)
                digest.update(f"{len(text)}\0".encode() + text)
        else:
            digest.update(values.astype("<c16" if values.dtype.kind == "c" else "<f8").tobytes())
    return digest.hexdigest()


def pad_batch(batch: Batch, count: int) -> Batch:
    """Return a batch with its last example repeated until there are `count`.

    Raises InputError where they take more memory than is allowed, as a model can require any number of examples.
    """
    size = sum(rows[:1].nbytes for rows in batch.values()) * count
    if any(len(rows) != count for rows in batch.values()):
        _check_padded(size, count)
    return {
        name: rows if len(rows) == count else np.concatenate([rows, np.repeat(rows[-1:], count - len(rows), axis=0)])
        for name, rows in batch.items()
    }


def _check_padded(size: int, count: int) -> None:
    check_bytes(size, allowed_bytes(), f"a batch of {count} examples, padded for the model, takes", InputError)


def parse_examples(text: str) -> tuple[int | None, int | None]:
    """Parse `START:STOP`, either of which may be left out or negative (counted from the end)."""
    start, colon, stop = text.partition(":")
    try:
        if not colon:
            raise ValueError
        return int(start) if start else None, int(stop) if stop else None
    except ValueError:
        raise InputError(f"--examples '{text}' is not START:STOP (for example 0:100, or 50:)") from None


def _fits(shape: Sequence[int], declared: Sequence[int | None]) -> bool:
    return len(shape) == len(declared) and all(
        want is None or want == have for want, have in zip(declared, shape, strict=True)
    )


def _open(shape: Sequence[int | None]) -> str:
    return "(" + ", ".join("?" if size is None else str(size) for size in shape) + ("," * (len(shape) == 1)) + ")"
