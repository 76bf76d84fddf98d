"""Files that hold several tensors, such as `.npz` and `.safetensors`: in one file, or in one per so many rows."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial

from tfdump.dump.axis0 import EXAMPLE
from tfdump.dump.layout import ACTIVATIONS
from tfdump.dump.reader import Dump
from tfdump.errors import DumpError
from tfdump.exports.arrays import Exported, member_names
from tfdump.exports.ids import CLASSES, IDENTITY, examples_beside
from tfdump.exports.npy import npy
from tfdump.exports.npz import npz
from tfdump.exports.origin import origin_of
from tfdump.exports.raw import raw, raw_arrays, raw_misfit
from tfdump.exports.safetensors import METADATA, safetensors, safetensors_misfit
from tfdump.files.byte_strings import decoded_text

RAW = "bin"
ARCHIVES = ("npz", "safetensors", "parquet", RAW)
"""The formats of which one file holds several tensors."""

NAMED_ROWS = ("npz", "safetensors", "parquet")
"""Those that have room for the names of the examples."""

_RESERVED = {"safetensors": (METADATA,), "parquet": ("id", "label")}
"""Names that mean something else in a format; those of a table are columns that say who the examples are."""


def archive_file(
    dump: Dump, tensors: Iterable[Exported], layout: str, further: Mapping[str, str] | None = None
) -> Iterator[bytes]:
    """Return the bytes of a file of these tensors, which fit the format, and of the arrays of IDENTITY among them.

    `further` goes beside the provenance of a format that has room for text. Raises DumpError if a package is missing,
    and where the tensors of a table have different numbers of rows.
    """
    tensors = [tensor for tensor in tensors if tensor.views]
    if layout == "npz":
        return npz_file(tensors)
    if layout == RAW:
        return raw(raw_arrays(tensors))
    values = [tensor for tensor in tensors if tensor.name not in IDENTITY]
    identity = {tensor.name: tensor for tensor in tensors if tensor.name in IDENTITY}
    text = {name: tensor for name, tensor in identity.items() if tensor.views[""].is_text}
    metadata = {**origin_of(dump), **(further or {})}
    if layout == "safetensors":
        names = {name: _text(tensor) for name, tensor in text.items()}
        return safetensors([*values, *(identity[name] for name in identity if name not in text)], {**metadata, **names})
    metadata |= {name: _text(text[name]) for name in text if name == CLASSES}
    return _table(values, identity, metadata)


def npz_file(tensors: Iterable[Exported]) -> Iterator[bytes]:
    """Return the bytes of an archive of all arrays of these tensors."""
    tensors = list(tensors)
    names = member_names(tensors)
    members = [
        (names[tensor.name, part], partial(npy, view, f"'{tensor.address}'"))
        for tensor in tensors
        for part, view in tensor.views.items()
    ]
    return npz(members)


def _table(
    values: Sequence[Exported], identity: Mapping[str, Exported], metadata: Mapping[str, str]
) -> Iterator[bytes]:
    try:
        from tfdump.exports.parquet import parquet
    except ImportError:
        raise DumpError("--format parquet needs an extra: pip install 'tfdump[tables]'") from None
    beside = {name.rpartition("/")[2]: tensor for name, tensor in identity.items() if name != CLASSES}
    _row_count([*values, *beside.values()])
    return parquet(values, beside, metadata)


def _text(tensor: Exported) -> str:
    """Return an array of text as JSON."""
    texts = [decoded_text(item) for block in tensor.views[""].blocks() for item in block]
    return json.dumps(texts, ensure_ascii=False)


def fitting(tensors: Iterable[Exported], layout: str, rows_alone: bool) -> list[Exported]:
    """Return the same tensors, where those that a format cannot hold have no arrays, and the reason.

    With `rows_alone`, they need one row per example.
    """
    checked = []
    for tensor in tensors:
        reason = misfit(tensor, layout, rows_alone) if tensor.views else ""
        checked.append(replace(tensor, views={}, reason=reason) if reason else tensor)
    return checked


def misfit(tensor: Exported, layout: str, rows_alone: bool) -> str:
    """Return why a tensor cannot be written; "" if it can. With `rows_alone`, it needs one row per example."""
    checks: Mapping[str, Callable[[Exported], str]] = {
        "safetensors": safetensors_misfit,
        "parquet": _table_misfit,
        RAW: raw_misfit,
    }
    reason = checks[layout](tensor) if layout in checks else ""
    if reason or not rows_alone:
        return reason
    view = tensor.views.get("")
    if view is not None and view.has_rows and tensor.axis0 == EXAMPLE:
        return ""
    return "does not have one row per example (write it alone, to one file)"


def _table_misfit(tensor: Exported) -> str:
    view = tensor.views.get("")
    if view is None:
        return f"is several arrays ({', '.join(tensor.views)}), and a table has rows (use --format safetensors or npz)"
    if not view.shape:
        return "is a single value, and a table has rows (use --format npy)"
    if len(view.shape) > 2:
        reduce = "dump it with --reduce, " if tensor.name.startswith(f"{ACTIVATIONS}/") else ""
        return (
            f"has {len(view.shape)} axes, and a table has rows of numbers (leave two axes with --slice, {reduce}"
            "or use --format safetensors)"
        )
    if not view.is_text and (view.dtype.kind not in "biuf" or view.dtype.itemsize > 8):
        return f"is stored as {view.dtype}, which Parquet does not have (use --format npy)"
    return "has rows without values, and Parquet has no empty lists of fixed length" if view.shape[1:] == (0,) else ""


def named_by_address(tensors: Sequence[Exported], layout: str) -> list[Exported]:
    """Return the same tensors, named by their addresses alone where that is unique and free in the format."""
    addresses = [tensor.address for tensor in tensors if tensor.name not in IDENTITY]
    reserved = {*_RESERVED.get(layout, ()), *(name for name in addresses if addresses.count(name) > 1)}
    return [
        tensor if tensor.address in reserved and tensor.name not in IDENTITY else replace(tensor, name=tensor.address)
        for tensor in tensors
    ]  # fmt: skip


def with_identity(tensors: Sequence[Exported], layout: str) -> list[Exported]:
    """Return the same tensors, and who their examples are if one of them has `ids`."""
    named = [tensor for tensor in tensors if tensor.ids is not None]
    if layout == "parquet":
        named = [tensor for tensor in named if "" in tensor.views and tensor.views[""].has_rows]
    return [*tensors, *(examples_beside(named[0]) if named else ())]


def row_files(tensors: Sequence[Exported], rows_per_file: int) -> list[list[Exported]]:
    """Return the tensors of every file, each with the rows that are in it; the names of classes are in all of them.

    Raises DumpError if the tensors have different numbers of rows.
    """
    cut = [tensor for tensor in tensors if tensor.name != CLASSES]
    rows = _row_count(cut)
    files = []
    for start in range(0, max(1, rows), rows_per_file):
        stop = min(start + rows_per_file, rows)
        parts = {tensor.name: {"": tensor.views[""].between(start, stop)} for tensor in cut}
        files.append([replace(tensor, views=parts.get(tensor.name, tensor.views)) for tensor in tensors])
    return files


def _row_count(tensors: Sequence[Exported]) -> int:
    first, rows = tensors[0], tensors[0].views[""].shape[0]
    for tensor in tensors:
        if (others := tensor.views[""].shape[0]) != rows:
            raise DumpError(
                f"'{first.address}' has {rows:,} rows, and '{tensor.address}' has {others:,} "
                "(write each to a file of its own)"
            )
    return rows
