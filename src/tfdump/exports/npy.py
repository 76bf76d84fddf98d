"""`.npy`: NumPy's own format, version 1.0 (numpy.lib.format)."""

import io
from collections.abc import Iterator
from typing import Any

import numpy as np

from tfdump.dump.view import View
from tfdump.errors import DumpError


def npy(view: View, what: str) -> Iterator[bytes]:
    """Yield the bytes of a `.npy` file; `what` names the tensor in messages.

    Text becomes fixed-width Unicode, for which it is read twice. Raises DumpError for what NumPy could only pickle.
    """
    dtype = _width(view) if view.is_text else view.dtype
    if dtype.hasobject or dtype.kind == "V":
        raise DumpError(f"{what} is stored as {dtype}, which no .npy holds without pickle")
    header = io.BytesIO()
    described: dict[str, Any] = {
        "descr": np.lib.format.dtype_to_descr(dtype),
        "fortran_order": False,
        "shape": view.shape,
    }
    np.lib.format.write_array_header_1_0(header, described)
    yield header.getvalue()
    for block in view.blocks():
        yield block.astype(dtype, copy=False).tobytes()


def _width(view: View) -> np.dtype[Any]:
    """Return the Unicode dtype that holds the longest text."""
    longest = max((len(text) for block in view.blocks() for text in block), default=0)
    return np.dtype(f"<U{max(1, longest)}")
