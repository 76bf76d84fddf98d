"""Writes what a device printed into a dump that is like another one."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tfdump.device_files.expected import expected_of
from tfdump.device_files.file_names import DeviceFile
from tfdump.device_files.naming import named_tensor, tensor_of_file
from tfdump.device_files.reading import array_values, format_of_file, read_device_file
from tfdump.dtypes import STRING
from tfdump.dump import layout
from tfdump.dump.attributes import STATISTIC_PREFIX, full_name
from tfdump.dump.axis0 import BATCH, EXAMPLE, NONE, STEP
from tfdump.dump.quantization import ARRAYS
from tfdump.dump.reader import Dump, open_dump
from tfdump.dump.shards.shard_file import SHARD_OF, THREADS
from tfdump.dump.tensor import Tensor
from tfdump.dump.writer import DumpWriter
from tfdump.errors import InputError
from tfdump.files.paths import as_argument
from tfdump.inputs.readers import ArrayReader
from tfdump.tensors import Array, NotCaptured, Note, TensorInfo
from tfdump.version import __version__

DEVICE = "device"
"""The attribute `runtime` of such a dump."""

_OF_THE_RUN = (
    "tfdump_version", "tensorflow_version", "keras_version", "numpy_version", "runtime", "runtime_version", "command",
    "examples", "first_example", "stats_only", "not_captured", "depends_on_batch", "gradient_norm", "padding",
    "crc32_description", SHARD_OF, THREADS,
)  # fmt: skip
"""Attributes of the root that are not those of the other dump."""

_OF_THE_VALUES = (
    "norm", "float16_zeros", "connected", "overflowed", "values", "computed_shape", "stored_as", "crc32", "padding",
    "axis0",
)  # fmt: skip
_PREFIXES_OF_THE_VALUES = (STATISTIC_PREFIX, "quantile_")
"""Attributes of a tensor that describe its values, and the beginnings of others."""

_INFO = ("address", "layer", "structure", "class", "order", "dtype", "shape", layout.READ, layout.OPERANDS)
"""Attributes of a tensor that a TensorInfo has."""


@dataclass(frozen=True)
class ImportOptions:
    """How files are read.

    `dtype` and `layout` are those of the files, None for that of each tensor and what the name of each file says.
    `examples` are the examples that the device computed, as numbers in the input: the start and the stop.
    """

    dtype: str | None = None
    byte_order: str = "little"
    layout: str | None = None
    examples: tuple[int | None, int | None] = (None, None)


def import_files(
    files: Sequence[DeviceFile], like: Path, output: Path, options: ImportOptions, command: str, force: bool, note: Note
) -> None:
    """Write a dump of the values in some files, with what `like` tells of their tensors.

    Raises InputError if a file does not hold what is expected, and DumpError if a dump cannot be read or written.
    """
    if not files:
        raise InputError("no files or arrays are given, so there is nothing to import (pass at least one)")
    with open_dump(like) as dump:
        rows = device_rows(dump, options.examples)
        sources = _sources(dump, files)
        tensors = [full_name(tensor) for tensor in dump.tensors()]
        with DumpWriter(output, force=force) as writer:
            for name in tensors:
                if name in sources:
                    _write(writer, dump[name], sources[name], rows, options)
            if dump.examples is not None:
                _write_identity(writer, dump, rows)
            missing = _without_file(dump, sources)
            config = None if dump.config is None else json.dumps(dump.config)
            writer.describe(_root(dump, rows, command), config, tuple(missing))
    _tell(dump, rows, [item.address for item in missing], len(tensors), note)


def device_rows(dump: Dump, examples: tuple[int | None, int | None]) -> range | None:
    """Return the rows of the examples that a device computed; None for a dump that has no examples.

    Raises InputError for examples that the dump does not have.
    """
    if "examples" not in dump.attributes:
        if examples != (None, None):
            raise InputError(f"{dump.name} has no examples, so --examples means nothing (leave it out)")
        return None
    count, first = int(dump.attributes["examples"]), dump.first_example
    start, stop = (end if bound is None else bound for bound, end in zip(examples, (first, first + count), strict=True))
    if not first <= start < stop <= first + count and examples != (None, None):
        raise InputError(f"--examples {start}:{stop} is not within {dump.name}, which has {first}:{first + count}")
    return range(start - first, stop - first)


def _sources(dump: Dump, files: Sequence[DeviceFile]) -> dict[str, DeviceFile]:
    """Return the file of every tensor that has one; raises InputError if two files are of one tensor."""
    sources: dict[str, DeviceFile] = {}
    for file in files:
        named = file.address is not None
        tensor = named_tensor(dump, file.address or "", file.path) if named else tensor_of_file(dump, file.path)
        name = full_name(tensor)
        if name in sources:
            raise InputError(f"'{name}' is in two files: {sources[name].path} and {file.path} (leave one out)")
        sources[name] = file
    return sources


def _write(writer: DumpWriter, tensor: Tensor, file: DeviceFile, rows: range | None, options: ImportOptions) -> None:
    expected = expected_of(tensor, rows, options.dtype)
    if file.values is None:
        kind = format_of_file(file.path, options.layout)
        values, dtype = read_device_file(file.path, kind, expected, options.byte_order)
    else:
        values, dtype = array_values(ArrayReader(file.values, f"'{file.address}'"), expected)
    axis0 = str(tensor.attributes.get("axis0", NONE))
    info = _info(tensor, dtype)
    _append(writer, tensor.group, info, values, axis0, _further(tensor))


def _append(
    writer: DumpWriter, group: str, info: TensorInfo, values: Array, axis0: str, further: Mapping[str, Any]
) -> None:
    """Store all values of a tensor at once."""
    count = len(values) if values.ndim else 0
    steps = count if axis0 == STEP else None
    collector = writer.collector(
        info,
        values,
        axis0=NONE if axis0 == STEP else axis0,
        examples=count,
        batches=count if axis0 == BATCH else 1,
        dtype=None if info.dtype == STRING else values.dtype.name,
        steps=steps,
    )
    for item in values if axis0 in (BATCH, STEP) else [values]:
        collector.append(item)
    writer.link(group, info, collector, further)


def _info(tensor: Tensor, dtype: str) -> TensorInfo:
    attributes = tensor.attributes
    shape = attributes.get("shape")
    return TensorInfo(
        tensor.address,
        str(attributes.get("layer", tensor.address)),
        str(attributes.get("structure", "")),
        (str(attributes.get("class", "")),),
        int(attributes.get("order", 0)),
        dtype,
        None if shape is None else tuple(shape),
        inputs=tensor.inputs,
        operands=tensor.operands,
    )


def _further(tensor: Tensor) -> dict[str, Any]:
    """Return the attributes of a tensor that hold for other values of it too, its quantization among them."""
    further = {
        name: _stored(value)
        for name, value in tensor.attributes.items()
        if name not in (*_INFO, *_OF_THE_VALUES, *ARRAYS) and not name.startswith(_PREFIXES_OF_THE_VALUES)
    }
    parameters = tensor.quantization
    return further if parameters is None else {**further, **parameters.attributes}


def _stored(value: Any) -> Any:
    """Return the value of an attribute in the type in which a dump stores it."""
    return np.asarray(value) if isinstance(value, list) else np.int64(value) if type(value) is int else value


def _root(dump: Dump, rows: range | None, command: str) -> dict[str, Any]:
    root = {
        name: _stored(value)
        for name, value in dump.attributes.items()
        if name not in _OF_THE_RUN and not str(value).startswith('{"see"')
    }
    root |= {"tfdump_version": __version__, "numpy_version": np.__version__, "runtime": DEVICE, "command": command}
    if "stats_only" in dump.attributes:
        root["stats_only"] = False
    if dump.depends_on_batch:
        root[layout.DEPENDS_ON_BATCH] = json.dumps(list(dump.depends_on_batch))
    if rows is None:
        return root
    count = int(dump.attributes["examples"])
    if rows[:1] != range(1) or len(rows) < min(count, layout.SAMPLED_EXAMPLES):
        root.pop(layout.INPUTS_SHA256, None)  # it is that of other examples
    return root | {"examples": np.int64(len(rows)), "first_example": np.int64(dump.first_example + rows.start)}


def _write_identity(writer: DumpWriter, dump: Dump, rows: range | None) -> None:
    """Store who the examples are."""
    examples = dump.examples
    if examples is None or rows is None:
        return
    cut = slice(rows.start, rows.stop)
    arrays = {layout.EXAMPLE_ID: examples.part.read((cut,))}
    if examples.labels is not None:
        arrays[layout.EXAMPLE_LABEL] = examples.labels[cut]
    if examples.class_part is not None:
        arrays[layout.EXAMPLE_CLASSES] = examples.class_part.read()
    for name, values in arrays.items():
        dtype = STRING if values.dtype == object else "int64"
        _append(writer, layout.EXAMPLES, TensorInfo(name, name, name, (), 0, dtype, (-1,)), values, EXAMPLE, {})


def _without_file(dump: Dump, sources: Mapping[str, DeviceFile]) -> list[NotCaptured]:
    names = [(full_name(tensor), tensor.address) for tensor in dump.tensors()]
    return [NotCaptured(address, "no file of the device has it") for name, address in names if name not in sources]


def _tell(dump: Dump, rows: range | None, missing: Sequence[str], count: int, note: Note) -> None:
    if missing:
        some = ", ".join(missing[:4]) + (", ..." if len(missing) > 4 else "")
        note(f"{len(missing)} of {count} tensors have no file: {some} (compare with --allow-missing)")
    if rows is not None and len(rows) < int(dump.attributes["examples"]):
        first = dump.first_example + rows.start
        note(
            f"the dump holds examples {first} to {first + len(rows) - 1}: compare it with a dump of the same ones "
            f"(dump the model of {as_argument(dump.name)} with --examples {first}:{first + len(rows)})"
        )
