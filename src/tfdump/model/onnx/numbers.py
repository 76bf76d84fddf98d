"""The numbers of the constants of an `.onnx` file, which no ONNX Runtime is needed to read."""

from collections.abc import Mapping
from math import prod
from pathlib import Path

import numpy as np

from tfdump.dtypes import numpy_dtype
from tfdump.errors import ModelError
from tfdump.model.onnx.file import MODEL_GRAPH, OnnxTensor, constant_numbers
from tfdump.model.onnx.wire import Message, merged
from tfdump.model.operations.four_bits import FOUR_BITS, unpacked
from tfdump.tensors import Array

_NAMES = {1: "float32", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64", 9: "bool",
          10: "float16", 11: "float64", 12: "uint32", 13: "uint64", 16: "bfloat16", 17: "float8_e4m3fn",
          18: "float8_e4m3fnuz", 19: "float8_e5m2", 20: "float8_e5m2fnuz", 21: "uint4", 22: "int4"}  # fmt: skip
_RAW, _INT32 = 9, 5
"""The fields of a tensor that hold its numbers as bytes, and one by one for small types."""


def constant_dtype(constant: OnnxTensor) -> str:
    """Return the name of the dtype of a constant."""
    return _NAMES.get(constant.type, f"type {constant.type}")


class OnnxNumbers:
    """The constants of the main graph of a file that was checked, by the names under which nodes read them."""

    def __init__(self, path: Path, data: bytes) -> None:
        self._folder = path.parent
        self._path = path
        graph = merged([memoryview(data)]).message(MODEL_GRAPH) or Message({}, {})
        self._tensors = {tensor.text(8): tensor for tensor in graph.messages(5)}
        for node in graph.messages(1):
            if node.text(4) == "Constant":
                inside = [tensor for a in node.messages(5) if (tensor := a.message(5)) is not None]
                self._tensors |= dict(zip(node.texts(2), inside, strict=False))

    def values(self, name: str, constant: OnnxTensor) -> Array:
        """Return the numbers of a constant; those of four bits, of which a byte has two, in a byte each.

        Raises ModelError where there are fewer or more of them than its shape says.
        """
        dtype, shape = constant_dtype(constant), constant.shape
        if constant.external is not None:
            values: Array | None = _typed(self._external(constant.external, constant.bytes), dtype, prod(shape))
        else:
            tensor = self._tensors[name]
            values = constant_numbers(tensor, constant.type, shape)
            if values is None and _RAW in tensor.views:
                values = _typed(np.frombuffer(tensor.views[_RAW][-1], np.uint8), dtype, prod(shape))
            elif values is None:
                width = 1 if dtype in FOUR_BITS else numpy_dtype(dtype).itemsize
                numbers = np.array(tensor.integers(_INT32), np.int64).astype(f"u{width}")
                values = _typed(numbers.view(np.uint8), dtype, prod(shape))
        if values is None or values.size != prod(shape):
            raise ModelError(
                f"{self._path} is damaged: the constant '{name}' has {0 if values is None else values.size} numbers, "
                f"but the shape {list(shape)}"
            )
        return values.reshape(shape)

    def _external(self, external: Mapping[str, str], size: int) -> Array:
        """Return the bytes of a constant in a file beside the model; `check_constants` has looked at its place."""
        file = self._folder / external.get("location", "")
        try:
            return np.fromfile(
                file, np.uint8, int(external.get("length") or size), offset=int(external.get("offset") or 0)
            )
        except OSError as cause:
            raise ModelError(f"cannot read {file}: {cause.strerror}") from cause


def _typed(data: Array, dtype: str, count: int) -> Array:
    """Return bytes as numbers of a dtype."""
    if dtype in FOUR_BITS:
        return unpacked(data, count, 0, signed=dtype == "int4")
    item = numpy_dtype(dtype)
    return data[: data.size // item.itemsize * item.itemsize].view(item)
