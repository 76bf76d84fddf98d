"""Names, dtypes and chunks of a dump file, format 1; see docs/format.md."""

import math
from collections.abc import Sequence
from typing import Any

import h5py
import numpy as np

from tfdump.dtypes import STRING, dtype_name, kind_of
from tfdump.files.byte_strings import encoded
from tfdump.tensors import Array

FORMAT = "tfdump"
FORMAT_VERSION = 1

ACTIVATIONS = "activations"
OUTPUTS = "outputs"
GRADIENTS = "gradients"
WEIGHT_GRADIENTS = "gradients/weights"
ACTIVATION_GRADIENTS = "gradients/activations"
INPUT_GRADIENTS = "gradients/inputs"
WEIGHTS = "weights"
OPTIMIZER = "optimizer"
"""The group of the variables of the optimizer itself, and of one group per slot."""
INPUTS = "inputs"
TENSOR_GROUPS = (ACTIVATIONS, OUTPUTS, WEIGHT_GRADIENTS, ACTIVATION_GRADIENTS, INPUT_GRADIENTS, WEIGHTS, INPUTS)


def group_rank(group: str) -> int:
    """Return the place of a group of tensors among all groups; those of an optimizer are the last ones."""
    return TENSOR_GROUPS.index(group) if group in TENSOR_GROUPS else len(TENSOR_GROUPS)


EXAMPLES = "examples"
EXAMPLE_ID, EXAMPLE_LABEL, EXAMPLE_CLASSES = "id", "label", "classes"
"""The datasets of the group EXAMPLES: the names of examples, their classes as numbers, the classes."""
LOSS = "loss"
CONFIG = "config"
NOT_CAPTURED = "not_captured"
READ = "inputs"
"""The attribute of an activation that lists the addresses of the tensors that its layer read, as JSON."""
OPERANDS = "operands"
"""The attribute of a layer's output that lists the tensors, of operations too, from which it was computed, as JSON."""
OPERATION = "operation"
"""The attribute of an output of a layer that tells the type of the operation that computed it."""
SOURCE = "source"
"""The attribute of an activation that tells the line of code that made its operation."""
STORED_AXES = "stored_axes"
ADDRESS_BY = "address_by"
"""The attribute of a tensor of a converted file that tells how its address was found."""
TRAINABLE = "trainable"
"""The attribute of a weight that tells whether training changes it."""
EXECUTED_AS = "executed_as"
"""The attribute of a tensor of a shared layer: its address if calls were numbered in the order of execution."""
INPUTS_SHA256 = "inputs_sha256"
"""The attribute of the root that lists the SHA-256 of the first SAMPLED_EXAMPLES examples of every input, as JSON."""
SAMPLED_EXAMPLES = 8
"""The examples by which two dumps are known to be of the same inputs, and tensors by their values."""
INPUT_SETTINGS = "input_settings"
"""The attribute of the root that tells how the data of each input became numbers, as JSON."""
SKIPPED = "skipped"
"""The attribute of the root that lists the rows of the data that were left out, with the reasons, as JSON."""
DEPENDS_ON_BATCH = "depends_on_batch"
PADDING = "padding"
"""How many copies of its last example pad the last batch. An attribute of the root, and of each tensor whose values
in that batch were also computed from the copies.
"""
SEARCHED_EXAMPLES = "searched_examples"
BATCH_FIRST_EXAMPLE = "batch_first_example"
"""Attributes of the root of a dump of the first example with NaN or infinity: how many examples were computed until it
was reached, and the number in the input of the first example of its batch.
"""
INTERVAL = "interval"
EPOCH = "epoch"
BATCH = "batch"
"""Attributes of the root of a dump that was made during training: the interval (`epoch` or `batch`), the number of
epochs begun, and the number of batches trained.
"""

CHUNK_BYTES = 1 << 20
SMALLEST_CHUNK = 64 << 10
FEW_CHUNKS = 8
LARGEST_CHUNK_BYTES = 1 << 30  # HDF5 allows 4 GiB; readers must hold one chunk
LARGEST_ATTRIBUTE_BYTES = 60_000  # an object header holds 64 kB

# Types that HDF5 cannot name, with the nearest wider type that holds every value; quantized numbers as the integers
# that they are.
_UPCAST: dict[str, type[np.generic]] = {
    "bfloat16": np.float32,
    "float8_e4m3fn": np.float16,
    "float8_e4m3fnuz": np.float16,
    "float8_e4m3b11fnuz": np.float16,
    "float8_e5m2": np.float16,
    "float8_e5m2fnuz": np.float16,
    "float4_e2m1fn": np.float16,
    "int2": np.int8,
    "uint2": np.uint8,
    "int4": np.int8,
    "uint4": np.uint8,
    "qint8": np.int8,
    "quint8": np.uint8,
    "qint16": np.int16,
    "quint16": np.uint16,
    "qint32": np.int32,
}


def stored_dtype(name: str, wanted: str | None = None) -> np.dtype[Any]:
    """Return the dtype in which a tensor of dtype `name` is stored; `wanted` replaces the dtype of real floats."""
    if name == STRING:
        text: np.dtype[Any] = h5py.string_dtype("utf-8")
        return text
    if wanted is not None and kind_of(name) == "f":
        return np.dtype(wanted)
    return np.dtype(_UPCAST.get(name) or name)


def common_dtype(first: str, second: str) -> str | None:
    """Return the narrowest dtype that holds every value of two dtypes, None where there is none."""
    if first == second:
        return first
    if any(kind_of(name) in "SV" for name in (first, second)):
        return None
    wide = np.promote_types(stored_dtype(first), stored_dtype(second))
    integers = [name for name in (first, second) if kind_of(name) in "iu"]
    if wide.kind in "fc" and any(np.dtype(stored_dtype(name)).itemsize == 8 for name in integers):
        return None  # NumPy promotes 64-bit integers to float64, which cannot hold all of them
    return dtype_name(wide)


def count_overflow(values: Array, wanted: np.dtype[Any]) -> int:
    """Return how many finite values become infinite in the dtype `wanted`."""
    if values.size and np.can_cast(stored_dtype(dtype_name(values.dtype)), wanted):
        return 0
    with np.errstate(over="ignore", invalid="ignore"):
        narrowed = values.astype(wanted)
    return int(np.count_nonzero(np.isinf(narrowed) & np.isfinite(values)))


def storable(values: Array, dtype: np.dtype[Any]) -> Array:
    """Return `values` as a C-contiguous array of the stored dtype; text as bytes (`byte_strings.encoded`)."""
    if h5py.check_string_dtype(dtype) is not None:
        text = np.empty(values.shape, dtype=object)
        text[...] = values
        for position, item in enumerate(text.flat):
            text.flat[position] = encoded(item)
        return text
    with np.errstate(over="ignore", invalid="ignore"):
        return np.ascontiguousarray(values, dtype=dtype).reshape(values.shape)


def chunk_bytes_for(memory: int, tensors: int) -> int:
    """Return about the size of a chunk with which the chunks of so many tensors that fill up stay within `memory`."""
    return min(CHUNK_BYTES, max(SMALLEST_CHUNK, memory // max(1, tensors)))


def chunk_shape(
    rows: int | None, tail: tuple[int, ...], itemsize: int, chunk_bytes: int = CHUNK_BYTES
) -> tuple[int, ...]:
    """Return the chunk of a dataset of shape `(rows, *tail)`: whole rows, at most `chunk_bytes`.

    The number of rows is a power of two, as batch sizes are, except that a few chunks divide the rows evenly. A larger
    row is a chunk by itself; a row above 1 GiB is cut along its first axes. `rows` is None for a dataset that grows.
    """
    row_bytes = max(1, itemsize * math.prod(tail))
    fitting = max(1, chunk_bytes // row_bytes)
    count = 1 << (fitting.bit_length() - 1)
    if rows is not None and rows <= FEW_CHUNKS * count:  # the last chunk takes as much space as the others
        count = math.ceil(rows / math.ceil(rows / count))
    cut = list(tail)
    for axis in range(len(cut)):
        rest = itemsize * math.prod(cut[axis + 1 :])
        if cut[axis] * rest <= LARGEST_CHUNK_BYTES:
            break
        cut[axis] = max(1, LARGEST_CHUNK_BYTES // rest)
    return (count, *cut)


def stacked_shape(shapes: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    """Return the shape of a stack: -1 for axes whose size differs, and only the count if the ranks differ."""
    if len({len(shape) for shape in shapes}) != 1:
        return (len(shapes),)
    axes = zip(*shapes, strict=True)
    return (len(shapes), *(sizes[0] if len(set(sizes)) == 1 else -1 for sizes in axes))
