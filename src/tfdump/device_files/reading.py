"""Reads what a device wrote: raw bytes, CSV, `.npy`, and text of numbers."""

import math
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tfdump.device_files.expected import Expected, check_number_kind, narrowed_numbers
from tfdump.device_files.number_texts import parser_of
from tfdump.dtypes import dtype_name, kind_of, numpy_dtype
from tfdump.dump import layout
from tfdump.errors import InputError
from tfdump.files.paths import check_path
from tfdump.inputs.readers import Reader, open_npy
from tfdump.tensors import Array

ENDINGS = {
    ".bin": "bin", ".raw": "bin", ".dat": "bin", ".csv": "csv", ".tsv": "csv", ".npy": "npy", ".txt": "text",
    ".log": "text",
}  # fmt: skip
"""The format that the ending of a file stands for."""

FORMATS = ("bin", "csv", "npy", "text")

_SEPARATORS = str.maketrans(dict.fromkeys("[](){},;", " "))
_LONGEST_WORD = 60
_QUOTES = str.maketrans({'"': " "})
_HEADER = re.compile(r"(value|(\[[0-9]+\])+(,(\[[0-9]+\])+)*)")
"""The first line of the CSV that `tfdump cat` writes."""
BYTE_ORDERS = {"little": "<", "big": ">"}


def format_of_file(path: Path, wanted: str | None) -> str:
    """Return the format of a file: `wanted`, or what its ending says. Raises InputError if neither tells."""
    by_name = ENDINGS.get(path.suffix.lower())
    if wanted is None and by_name is None:
        raise InputError(
            f"'{path.name}' does not say what it holds (end it in {', '.join(ENDINGS)}, or add "
            f"--format {'|'.join(FORMATS)})"
        )
    return wanted or by_name or ""


def read_device_file(path: Path, kind: str, expected: Expected, byte_order: str) -> tuple[Array, str]:
    """Return the values in a file of a format, in the dtype of a dump, and the dtype that the dump says.

    Raises InputError if they are not what is expected.
    """
    check_path(path, "device file", InputError)
    if path.is_dir():
        raise InputError(f"{path} is a folder, not a device file")
    if kind == "npy":
        return _npy(path, expected)
    try:
        values = _raw(path, expected, byte_order) if kind == "bin" else _text(path, expected, kind == "csv")
    except OSError as cause:
        raise InputError(f"cannot read {path}: {cause.strerror or cause}") from None
    return values, expected.computed


def _raw(path: Path, expected: Expected, byte_order: str) -> Array:
    size = path.stat().st_size
    expected.check_count(str(path), size // expected.itemsize, size)
    data = path.read_bytes()
    dtype = numpy_dtype(expected.dtype)
    if dtype.kind == "b":
        bits = np.frombuffer(data, np.uint8)
        if bits.max(initial=0) > 1:
            raise InputError(f"{path}: {bits.max()} is not a truth value, and {expected.what} holds truth values")
    unit = dtype.itemsize // 2 if dtype.kind == "c" else dtype.itemsize
    ordered = np.frombuffer(data, f"{BYTE_ORDERS[byte_order]}u{unit}").astype(f"u{unit}")
    return ordered.view(dtype).astype(expected.stored).reshape(expected.shape)


def _npy(path: Path, expected: Expected) -> tuple[Array, str]:
    reader = open_npy(path)
    try:
        return array_values(reader, expected)
    finally:
        reader.close()


def array_values(reader: Reader, expected: Expected) -> tuple[Array, str]:
    """Return the values of an array in the dtype of a dump, and the dtype that the dump says.

    Raises InputError for an array of another kind or shape; axes of length 1 do not matter.
    """
    tensor, own = expected.tensor, dtype_name(reader.dtype)
    check_number_kind(own, tensor, f"{reader.label}: its dtype {own}")
    if expected.dtype != own and expected.computed != tensor.dtype:
        raise InputError(f"{reader.label}: its dtype is {own}, and not that of --dtype {expected.dtype} (leave it out)")
    squeezed, wanted = (tuple(size for size in shape if size != 1) for shape in (reader.shape, expected.shape))
    if squeezed not in (wanted, (expected.count,)):
        expected.check_count(reader.label, math.prod(reader.shape))
        raise InputError(f"{reader.label}: its shape is {reader.shape}, and {expected.what} has {expected.shape}")
    values = reader.read(0, reader.shape[0] if reader.shape else 1).reshape(expected.shape)
    stored = layout.stored_dtype(tensor.stored_dtype)
    if kind_of(own) == "f" or values.dtype == stored:
        return values, tensor.dtype if values.dtype == stored else own
    cast = values.astype(stored)
    if not np.array_equal(cast, values):
        first = values[cast != values][0]
        raise InputError(f"{reader.label}: {first} is not within {stored}, the dtype of {expected.what}")
    return cast, tensor.dtype


def _text(path: Path, expected: Expected, is_csv: bool) -> Array:
    if kind_of(expected.dtype) == "c":
        raise InputError(f"{path}: {expected.what} holds complex numbers, which are read from raw or .npy files only")
    integers = kind_of(expected.dtype) in "iub"
    values = np.empty(expected.count, expected.stored if integers else np.float64)
    count = 0
    for number in _numbers(path, expected, is_csv):
        if count < len(values):
            values[count] = number
        count += 1
    expected.check_count(str(path), count)
    values = values.reshape(expected.shape)
    return values if integers else narrowed_numbers(values, expected, str(path))


def _numbers(path: Path, expected: Expected, is_csv: bool) -> Iterator[int | float]:
    """Yield the numbers of a text in their order; a line of CSV must have those of one row."""
    parse = parser_of(expected)
    row = math.prod(expected.shape[1:])
    separators = _SEPARATORS | _QUOTES if is_csv else _SEPARATORS
    for number, line in enumerate(_decoded(path).splitlines(), 1):
        if is_csv and number == 1 and _is_header(line, path):
            continue
        words = line.translate(separators).split()
        if is_csv and words and len(words) != row:
            raise InputError(
                f"{path}: line {number} has {len(words):,} values, and a row of {expected.what} has {row:,} (read it "
                "with --format text if its lines mean nothing)"
            )
        for word in words:
            try:
                yield parse(word)
            except ValueError as wrong:
                raise InputError(
                    f"{path}: line {number}: '{_shortened(word)}' {wrong} (leave only the numbers of {expected.what} "
                    "in the file)"
                ) from None


def _shortened(word: str) -> str:
    return word if len(word) <= _LONGEST_WORD else f"{word[: _LONGEST_WORD - 3]}..."


def _is_header(line: str, path: Path) -> bool:
    if line.startswith("id,"):
        raise InputError(f"{path}: line 1: the first column is the names of examples (write it without --ids)")
    return _HEADER.fullmatch(line.strip()) is not None


def _decoded(path: Path) -> str:
    """Return the text of a file; some consoles write UTF-16."""
    data = path.read_bytes()
    encoding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    return data.decode(encoding, "backslashreplace")
