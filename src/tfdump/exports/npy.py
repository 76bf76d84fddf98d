"""`.npy`: NumPy's own format, version 1.0 (numpy.lib.format)."""

import io
from collections.abc import Iterator
from typing import Any

import numpy as np

from tfdump.dump.view import View
from tfdump.errors import DumpError


def npy(view: View, what: str) -> Iterator[bytes]:
    """Yield the bytes of a `.npy` file; `what` names the tensor in messages.

    Text becomes fixed-width Unicode. Text that is stored as byte strings becomes fixed-width bytes, and is read twice.
    Raises DumpError for values that NumPy could only pickle, and for bytes that end in NUL, which NumPy uses as
    padding.
    """
    dtype = _width(view, what) if view.is_text else view.dtype
    if dtype.hasobject or dtype.kind == "V":
        raise DumpError(f"{what} is stored as {dtype}, which a .npy file cannot hold without pickle")
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


def _width(view: View, what: str) -> np.dtype[Any]:
    """Return the dtype that holds the longest text, as Unicode or as bytes."""
    longest = 1
    for block in view.blocks():
        longest = max([longest, *map(len, block)])
        if view.is_bytes and any(item.endswith(b"\0") for item in block):
            raise DumpError(
                f"{what} holds bytes that end in NUL, which .npy and .npz would lose (use --format csv, where they are "
                "escaped, or read them with tfdump.open)"
            )
    return np.dtype(f"S{longest}" if view.is_bytes else f"<U{longest}")
