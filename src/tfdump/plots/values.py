"""Reads the values of one picture, and no others: an example, a step, or a range of examples."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tfdump.dump import axis0
from tfdump.dump.examples import StoredExamples, one_line
from tfdump.dump.reader import Tensor
from tfdump.errors import TfdumpError
from tfdump.plots.kinds import Subject
from tfdump.tensors import Array

MOST_EXAMPLES = 256
"""Rows of a heat map of examples, by default."""

_FEW_BYTES = 1 << 26
"""Bytes of a heat map of examples, by default: a wide layer gets fewer rows."""

MOST_BYTES = 1 << 28
"""Bytes of one value above which no picture is drawn: it would show nothing, and take the user's memory."""

_LARGEST = 1e307

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Excerpt:
    """Values to draw, words that say which they are, and notes on values that are left out.

    `rows` is the number of the first row, or the number of each row.
    """

    values: Floats
    words: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    rows: tuple[int, ...] | int = 0


def value_excerpt(
    tensor: Tensor, subject: Subject, example: int | None, step: int | None, names: StoredExamples | None = None
) -> Excerpt:
    """Return one value: of an example (the first by default) and of a step (the last by default).

    `names` are those of the examples, where the dump has them. Negative indices count from the end. Raises TfdumpError
    for an index out of range, for an option for whose axis the tensor lacks, and for a value too large for a picture.
    """
    index, words, notes = [], [], []
    for name, count in zip(subject.leading, subject.counts, strict=True):
        asked = step if name == axis0.STEP else example
        position = checked_index(
            asked if asked is not None else -1 if name == axis0.STEP else 0, count, name, subject.address
        )
        index.append(position)
        here = example_words(position, count, names) if name == axis0.EXAMPLE else [f"{name} {position:,} of {count:,}"]
        words += here
        if asked is None and count > 1:
            notes.append(f"the picture shows {', '.join(here)} (choose another with --{name} N)")
    for name, option in ((axis0.STEP, step), (axis0.EXAMPLE, example)):
        is_batch = name == axis0.EXAMPLE and axis0.BATCH in subject.leading
        if option is not None and name not in subject.leading and not is_batch:
            raise TfdumpError(
                f"'{subject.address}' has no {name} axis, which --{name} {option} needs (leave the option out)"
            )
    values, rows, more = _value(tensor, subject, index)
    if 0 in values.shape:
        raise TfdumpError(f"'{subject.address}' holds no values at {', '.join(words)} to draw")
    numbers = real_numbers(values)
    check_range(numbers, subject.address)
    return Excerpt(numbers, tuple(words), (*notes, *more), rows)


def example_words(position: int, count: int, names: StoredExamples | None) -> list[str]:
    """Return which of `count` examples this is: its place, and its name where it has one."""
    name = [one_line(names.name(position))] if names is not None and len(names) == count else []
    return [f"{axis0.EXAMPLE} {position:,} of {count:,}", *name]


def examples_excerpt(
    tensor: Tensor,
    subject: Subject,
    examples: tuple[int | None, int | None],
    step: int | None,
    names: StoredExamples | None = None,
) -> Excerpt:
    """Return a range of examples as rows, `(examples, *body)`; by default the first, at most MOST_EXAMPLES.

    Raises TfdumpError for an empty range, and for values too large for a picture.
    """
    count, name = subject.counts[-1], subject.leading[-1]
    start, stop, _ = slice(*examples).indices(count)
    if stop <= start:
        raise TfdumpError(f"--examples {_range(examples)} selects none of the {count:,} of '{subject.address}'")
    notes = []
    most = max(1, min(MOST_EXAMPLES, _FEW_BYTES // (8 * int(np.prod(np.maximum(subject.body, 1))))))
    if examples == (None, None) and count > most:
        stop = most
        notes.append(
            f"the picture shows {name}s 0 to {stop - 1} of {count:,} (choose others with --examples {stop}:{2 * stop})"
        )
    key: tuple[int | slice, ...] = (slice(start, stop),)
    words = [f"{name}s {start:,} to {stop - 1:,} of {count:,}"]
    if names is not None and name == axis0.EXAMPLE and len(names) == count:
        words.append(f"{one_line(names.name(start))} to {one_line(names.name(stop - 1))}")
    if len(subject.leading) == 2:
        at = checked_index(-1 if step is None else step, subject.counts[0], axis0.STEP, subject.address)
        key, words = (at, *key), [f"step {at:,} of {subject.counts[0]:,}", *words]
    _check_size(subject, (stop - start) * int(np.prod(np.maximum(subject.body, 1))) * 8)
    if tensor.encoding == "sparse":
        values = _sparse(tensor, subject, [], key)
    elif tensor.encoding is not None:
        raise TfdumpError(
            f"'{subject.address}' is {tensor.encoding}, so its examples differ in shape (choose one with --example N)"
        )
    else:
        values = tensor.parts()[0].read(key)
    numbers = real_numbers(values)
    check_range(numbers, subject.address)
    return Excerpt(numbers, tuple(words), tuple(notes), start)


def check_range(values: Floats, address: str) -> None:
    """Raise TfdumpError for numbers so large that their differences, which axes need, overflow."""
    finite = np.abs(values[np.isfinite(values)])
    if finite.size and finite.max() > _LARGEST:
        raise TfdumpError(
            f"'{address}' holds {finite.max():g}, which is too large for a picture (print it with --text)"
        )


def _value(tensor: Tensor, subject: Subject, index: list[int]) -> tuple[Array, tuple[int, ...] | int, tuple[str, ...]]:
    """Return one value as stored, the numbers of its rows, and notes."""
    if tensor.encoding == "stack":
        part = tensor.parts()[index[0]]
        _check_size(subject, part.nbytes)
        return part.read(), 0, ()
    if tensor.encoding == "ragged":
        return _ragged(tensor, subject, index), 0, ()
    if tensor.encoding == "sparse":
        return _sparse_value(tensor, subject, index)
    part = tensor.parts()[0]
    _check_size(subject, part.nbytes // max(1, int(np.prod(subject.counts))))
    return part.read(tuple(index)), 0, ()


def _ragged(tensor: Tensor, subject: Subject, index: list[int]) -> Array:
    """Return the values of the example at `index`, or all, with the rows of ragged axes one after the other."""
    parts = {part.name: part for part in tensor.parts()}
    start, stop = (index[0], index[0] + 1) if index else (0, tensor.shape[0])
    for name in sorted(name for name in parts if name.startswith("row_splits")):
        start, stop = (int(bound) for bound in parts[name].read(slice(start, stop + 1))[[0, -1]])
    values = parts["values"]
    _check_size(subject, values.nbytes // max(1, values.shape[0]) * (stop - start))
    return values.read(slice(start, stop))


def _sparse_value(
    tensor: Tensor, subject: Subject, index: list[int]
) -> tuple[Array, tuple[int, ...] | int, tuple[str, ...]]:
    """Return a sparse value: the stored rows of a table, else a dense array."""
    parts = {part.name: part for part in tensor.parts()}
    if index or parts["indices"].shape[1] != 1:
        return _sparse(tensor, subject, index), 0, ()
    _check_size(subject, parts["values"].nbytes)
    numbers, inverse = np.unique(parts["indices"].read()[:, 0], return_inverse=True)
    values = parts["values"].read()
    summed = np.zeros((len(numbers), *values.shape[1:]), np.result_type(values.dtype, np.float64))
    np.add.at(summed, inverse, values)  # an index may occur several times
    note = f"the picture shows the {len(numbers):,} stored rows of {subject.body[0]:,}; the others are 0"
    return summed, tuple(int(number) for number in numbers), (note,)


def _sparse(tensor: Tensor, subject: Subject, index: list[int], key: tuple[int | slice, ...] = ()) -> Array:
    """Return a dense copy of the example at `index`, or of the range of examples in `key`."""
    parts = {part.name: part for part in tensor.parts()}
    first = key[0] if key else None
    assert not isinstance(first, int)
    rows = (first.stop - first.start,) if first else ()
    _check_size(subject, int(np.prod(rows + subject.body)) * 8)
    indices, values = parts["indices"].read(), parts["values"].read()
    matches = np.ones(len(indices), bool)
    for axis, position in enumerate(index):
        matches &= indices[:, axis] == position
    if first:
        matches &= (indices[:, 0] >= first.start) & (indices[:, 0] < first.stop)
        indices = indices - np.eye(1, indices.shape[1], dtype=np.int64) * first.start
    dense = np.zeros(rows + subject.body, np.result_type(values.dtype, np.float64))
    np.add.at(dense, tuple(indices[matches, len(index) :].T), values[matches])
    return dense


def _check_size(subject: Subject, size: int) -> None:
    if size > MOST_BYTES:
        raise TfdumpError(
            f"one picture of '{subject.address}' would take {size >> 20:,} MiB of values "
            "(use --histogram, which reads it piece by piece)"
        )


def checked_index(position: int, count: int, name: str, address: str) -> int:
    """Return an index counted from 0; a negative one counts from the end. Raises TfdumpError for one out of range."""
    if not -count <= position < count:
        raise TfdumpError(f"no {name} {position} in '{address}', which has {count:,}: 0 to {count - 1:,}")
    return position % count


def _range(examples: tuple[int | None, int | None]) -> str:
    return ":".join("" if bound is None else str(bound) for bound in examples)


def real_numbers(values: Array) -> Floats:
    """Return numbers as float64: booleans as 0 and 1, complex numbers by their magnitude."""
    if values.dtype.kind == "c":
        return np.abs(values.astype(np.complex128))
    return values.astype(np.float64)
