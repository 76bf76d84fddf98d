"""The formats in which tensors are exported, and how one tensor becomes a file."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from tfdump.dump.quantization import QuantizationParameters
from tfdump.dump.reader import Dump
from tfdump.errors import DumpError
from tfdump.exports.archives import ARCHIVES, RAW
from tfdump.exports.arrays import Exported
from tfdump.exports.csv import csv
from tfdump.exports.header import c_header, c_identifiers
from tfdump.exports.ids import names_of_lines
from tfdump.exports.npy import npy
from tfdump.exports.origin import origin_of
from tfdump.exports.quantized import plain_parameters
from tfdump.exports.raw import raw, raw_arrays
from tfdump.files.paths import refuse_other_ending

SUFFIXES = {
    "npy": ".npy",
    "npz": ".npz",
    "csv": ".csv",
    "c": ".h",
    "safetensors": ".safetensors",
    "parquet": ".parquet",
    RAW: ".bin",
}
"""Every format, with the suffix of its files."""

BINARY = ("npy", *ARCHIVES)


def format_of(path: Path | None) -> str | None:
    """Return the format that the name of a file stands for, or None."""
    suffix = path.suffix.lower() if path is not None else ""
    return next((name for name, known in SUFFIXES.items() if known == suffix), None)


def layout_of(path: Path | None, layout: str | None) -> str:
    """Return the format of an output: `layout` if there is one, else what the file name says, else `npy`.

    Raises DumpError if the file name says another format, or one that tfdump does not write.
    """
    if path is None or not path.suffix:
        return layout or "npy"
    refuse_other_ending(path, [SUFFIXES[layout]] if layout else list(SUFFIXES.values()), DumpError)
    by_name = format_of(path)
    if layout is None and by_name is None:
        raise DumpError(
            f"'{path.name}' does not say in which format to write (end it in {', '.join(SUFFIXES.values())}, "
            f"or add --format {'|'.join(SUFFIXES)})"
        )
    return layout or by_name or "npy"


def one_file(dump: Dump, tensor: Exported, layout: str, sliced: str = "", header: bool = True) -> Iterator[bytes]:
    """Return the bytes of one tensor as a file of a format that holds one tensor.

    `sliced` is the slice that was selected, for the comment of a C header; `header` tells whether a CSV file names its
    columns.

    Raises DumpError for a composite in a format that holds one array.
    """
    if layout == "c":
        return header_file(dump, tensor, identifiers_of(dump, [tensor])[tensor.name], sliced)
    if list(tensor.views) != [""]:
        raise DumpError(
            f"'{tensor.address}' is several arrays ({', '.join(tensor.views)}), and .{layout} holds one "
            "(use --format npz, safetensors or c, or choose a row or item with --slice)"
        )
    return array_file(tensor, "", layout, header)


def array_file(tensor: Exported, part: str, layout: str, header: bool = True) -> Iterator[bytes]:
    """Return the bytes of one array of a tensor as `npy` or `bin`, or as `csv` with or without names of columns.

    In `csv`, the names of the rows are the first column where `tensor.ids` has them.
    """
    view = tensor.views[part]
    if layout == RAW:
        return raw(raw_arrays([replace(tensor, views={part: view})]))
    if layout != "csv":
        return npy(view, f"'{tensor.address}'")
    return csv(view, header, None if tensor.ids is None or part else names_of_lines(tensor.ids, view))


def identifiers_of(dump: Dump, tensors: Iterable[Exported]) -> dict[str, str]:
    """Return the C identifiers of tensors by their names; they are unique among all tensors of the dump."""
    names = [f"{group}/{name}" for group, names in dump.groups.items() for name in names]
    return c_identifiers([*names, *(tensor.name for tensor in tensors)])


def header_file(dump: Dump, tensor: Exported, identifier: str, sliced: str = "") -> Iterator[bytes]:
    """Return the bytes of the header of a tensor."""
    parameters = {} if tensor.quantization is None else plain_parameters(tensor.quantization)
    return c_header(identifier, tensor.views, _comment(dump, tensor, sliced), f"'{tensor.address}'", parameters)


def _comment(dump: Dump, tensor: Exported, sliced: str) -> list[str]:
    shapes = "; ".join(f"{part or 'shape'} {view.shape}" for part, view in tensor.views.items())
    return [
        f"{tensor.name}{f', slice {sliced}' if sliced else ''}: {tensor.dtype}, {shapes}, in C order",
        f"class: {tensor.class_name}, axis 0: {tensor.axis0}",
        *([] if tensor.quantization is None else [_quantization_comment(tensor.quantization)]),
        *(f"{name}: {value}" for name, value in origin_of(dump).items()),
    ]


def _quantization_comment(parameters: QuantizationParameters) -> str:
    by_input = "" if parameters.input_scale is None else " / input_scale"
    return f"an integer q stands for (q - zero_point) * scale{by_input}"
