"""The numbers of the constants of a `.tflite` file, which no interpreter is needed to read."""

from math import prod
from pathlib import Path

import numpy as np

from tfdump.dtypes import numpy_dtype
from tfdump.errors import ModelError
from tfdump.files.limits import allowed_bytes, check_bytes
from tfdump.model.operations.four_bits import FOUR_BITS, unpacked
from tfdump.model.tflite_internals import schema_py_generated as schema
from tfdump.tensors import Array


class LiteNumbers:
    """The constants of a file that `read_tflite` has checked."""

    def __init__(self, path: Path) -> None:
        check_bytes(path.stat().st_size, allowed_bytes(), f"{path} takes", ModelError)
        self._path = path
        self._data = path.read_bytes()
        self._model = schema.Model.GetRootAs(self._data, 0)

    def is_sparse(self, subgraph: int, number: int) -> bool:
        """Tell whether a constant leaves out its zeros."""
        return self._model.Subgraphs(subgraph).Tensors(number).Sparsity() is not None

    def values(self, subgraph: int, number: int, dtype: str, shape: tuple[int, ...]) -> Array:
        """Return the numbers of a constant; those of four bits, of which a byte has two, in a byte each.

        Raises ModelError where the file has fewer or more of them than its shape says.
        """
        data = self._bytes(self._model.Subgraphs(subgraph).Tensors(number).Buffer())
        if dtype in FOUR_BITS:
            values = unpacked(data, prod(shape), 0, signed=dtype == "int4")
        else:
            item = numpy_dtype(dtype)
            values = data[: len(data) // item.itemsize * item.itemsize].view(item)
        if values.size != prod(shape):
            raise ModelError(
                f"{self._path} is damaged: constant {number} of subgraph {subgraph} has {values.size} numbers, but the "
                f"shape {list(shape)}"
            )
        return values.reshape(shape)

    def _bytes(self, number: int) -> Array:
        buffer = self._model.Buffers(number)
        if buffer.Offset() > 1:  # behind the FlatBuffer, in files above 2 GiB
            return np.frombuffer(self._data, np.uint8, buffer.Size(), buffer.Offset())
        return np.asarray(buffer.DataAsNumpy(), np.uint8)
