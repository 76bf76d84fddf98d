"""What of a tensor one picture shows: an example, a step, a range of examples; nothing more is read."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tfdump.dump.reader import Tensor
from tfdump.errors import TfdumpError
from tfdump.plots.kinds import Subject
from tfdump.tensors import Array

MOST_EXAMPLES = 256
"""Rows of a heat map of examples, where nobody says which."""

_FEW_BYTES = 1 << 26
"""Of wide layers, fewer rows are read unasked."""

MOST_BYTES = 1 << 28
"""Above it, one value is refused: a picture of it would show nothing, and the memory is the user's."""

_LARGEST = 1e307

Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Taken:
    """Values to draw, what they are in words, and notes on what is left out.

    `rows` names the rows where they are not counted from 0: the first number, or the number of each.
    """

    values: Numbers
    said: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    rows: tuple[int, ...] | int = 0


def take_one(tensor: Tensor, subject: Subject, example: int | None, step: int | None) -> Taken:
    """Return one value: of an example (the first by default) and of a step (the last by default).

    Negative numbers count from the end. Raises TfdumpError for one that is not there, for an option that the tensor
    has no axis for, and for values that are too many for a picture.
    """
    index, said, notes = [], [], []
    for name, count in zip(subject.leading, subject.counts, strict=True):
        wanted = step if name == "step" else example
        position = inside(wanted if wanted is not None else -1 if name == "step" else 0, count, name, subject.address)
        index.append(position)
        said.append(f"{name} {position:,} of {count:,}")
        if wanted is None and count > 1:
            option = "--step" if name == "step" else "--example"
            notes.append(f"{name} {position:,} of {count:,} is shown (another: {option} N)")
    for name, given in (("step", step), ("example", example)):
        if given is not None and name not in subject.leading and not (name == "example" and "batch" in subject.leading):
            raise TfdumpError(f"'{subject.address}' has no {name} axis for --{name} {given} (leave it out)")
    values, rows, more = _value(tensor, subject, index)
    if 0 in values.shape:
        raise TfdumpError(f"'{subject.address}' holds no values at {', '.join(said)}: there is nothing to draw")
    numbers = real(values)
    check_range(numbers, subject.address)
    return Taken(numbers, tuple(said), (*notes, *more), rows)


def take_many(tensor: Tensor, subject: Subject, examples: tuple[int | None, int | None], step: int | None) -> Taken:
    """Return a range of examples as rows, `(examples, *body)`; by default the first, MOST_EXAMPLES at most."""
    count, name = subject.counts[-1], subject.leading[-1]
    start, stop, _ = slice(*examples).indices(count)
    if stop <= start:
        raise TfdumpError(f"--examples {_range(examples)} takes none of the {count:,} of '{subject.address}'")
    notes = []
    most = max(1, min(MOST_EXAMPLES, _FEW_BYTES // (8 * int(np.prod(np.maximum(subject.body, 1))))))
    if examples == (None, None) and count > most:
        stop = most
        notes.append(f"{name}s 0 to {stop - 1} of {count:,} are shown (others: --examples {stop}:{2 * stop})")
    key: tuple[int | slice, ...] = (slice(start, stop),)
    said = [f"{name}s {start:,} to {stop - 1:,} of {count:,}"]
    if len(subject.leading) == 2:
        at = inside(-1 if step is None else step, subject.counts[0], "step", subject.address)
        key, said = (at, *key), [f"step {at:,} of {subject.counts[0]:,}", *said]
    _check_size(subject, (stop - start) * int(np.prod(np.maximum(subject.body, 1))) * 8)
    if tensor.encoding == "sparse":
        values = _sparse(tensor, subject, [], key)
    elif tensor.encoding is not None:
        raise TfdumpError(
            f"'{subject.address}' is {tensor.encoding}: its examples differ in shape (choose one: --example)"
        )
    else:
        values = tensor.parts()[0].read(key)
    numbers = real(values)
    check_range(numbers, subject.address)
    return Taken(numbers, tuple(said), tuple(notes), start)


def check_range(values: Numbers, address: str) -> None:
    """Raise TfdumpError for numbers so large that the differences between them, which axes need, are none."""
    finite = np.abs(values[np.isfinite(values)])
    if finite.size and finite.max() > _LARGEST:
        raise TfdumpError(f"'{address}' holds {finite.max():g}, beyond what a picture can show (print it: --text)")


def _value(tensor: Tensor, subject: Subject, index: list[int]) -> tuple[Array, tuple[int, ...] | int, tuple[str, ...]]:
    """Return one value as it is stored, the numbers of its rows, and notes."""
    if tensor.encoding == "stack":
        part = tensor.parts()[index[0]]
        _check_size(subject, part.nbytes)
        return part.read(), 0, ()
    if tensor.encoding == "ragged":
        return _ragged(tensor, subject, index[0]), 0, ()
    if tensor.encoding == "sparse":
        return _sparse_value(tensor, subject, index)
    part = tensor.parts()[0]
    _check_size(subject, part.nbytes // max(1, int(np.prod(subject.counts))))
    return part.read(tuple(index)), 0, ()


def _ragged(tensor: Tensor, subject: Subject, example: int) -> Array:
    """Return the values of one example; rows of inner ragged axes follow each other."""
    parts = {part.name: part for part in tensor.parts()}
    start, stop = example, example + 1
    for name in sorted(name for name in parts if name.startswith("row_splits")):
        start, stop = (int(bound) for bound in parts[name].read(slice(start, stop + 1))[[0, -1]])
    values = parts["values"]
    _check_size(subject, values.nbytes // max(1, values.shape[0]) * (stop - start))
    return values.read(slice(start, stop))


def _sparse_value(
    tensor: Tensor, subject: Subject, index: list[int]
) -> tuple[Array, tuple[int, ...] | int, tuple[str, ...]]:
    """Return a sparse value: as rows where it is a table of which few are there, else dense."""
    parts = {part.name: part for part in tensor.parts()}
    if index or parts["indices"].shape[1] != 1:
        return _sparse(tensor, subject, index), 0, ()
    _check_size(subject, parts["values"].nbytes)
    numbers, inverse = np.unique(parts["indices"].read()[:, 0], return_inverse=True)
    values = parts["values"].read()
    summed = np.zeros((len(numbers), *values.shape[1:]), np.result_type(values.dtype, np.float64))
    np.add.at(summed, inverse, values)  # an index may be there several times
    note = f"the {len(numbers):,} of {subject.body[0]:,} rows that are stored are shown; the others are 0"
    return summed, tuple(int(number) for number in numbers), (note,)


def _sparse(tensor: Tensor, subject: Subject, index: list[int], key: tuple[int | slice, ...] = ()) -> Array:
    """Return a dense copy of the example at `index`, or of the range of examples in `key`."""
    parts = {part.name: part for part in tensor.parts()}
    first = key[0] if key else None
    assert not isinstance(first, int)
    rows = (first.stop - first.start,) if first else ()
    _check_size(subject, int(np.prod(rows + subject.body)) * 8)
    indices, values = parts["indices"].read(), parts["values"].read()
    found = np.ones(len(indices), bool)
    for axis, position in enumerate(index):
        found &= indices[:, axis] == position
    if first:
        found &= (indices[:, 0] >= first.start) & (indices[:, 0] < first.stop)
        indices = indices - np.eye(1, indices.shape[1], dtype=np.int64) * first.start
    dense = np.zeros(rows + subject.body, np.result_type(values.dtype, np.float64))
    np.add.at(dense, tuple(indices[found, len(index) :].T), values[found])
    return dense


def _check_size(subject: Subject, size: int) -> None:
    if size > MOST_BYTES:
        raise TfdumpError(
            f"one picture of '{subject.address}' would take {size >> 20:,} MiB of values "
            "(draw its --histogram, which reads it piece by piece)"
        )


def inside(position: int, count: int, name: str, address: str) -> int:
    """Return a number along an axis, which may count from the end; raises TfdumpError where it is not there."""
    if not -count <= position < count:
        raise TfdumpError(f"no {name} {position} in '{address}', which has {count:,}: 0 to {count - 1:,}")
    return position % count


def _range(examples: tuple[int | None, int | None]) -> str:
    return ":".join("" if bound is None else str(bound) for bound in examples)


def real(values: Array) -> Numbers:
    """Return numbers as float64: truth values as 0 and 1, complex numbers by their magnitude."""
    if values.dtype.kind == "c":
        return np.abs(values.astype(np.complex128))
    return values.astype(np.float64)
