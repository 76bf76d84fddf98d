"""The description of a tensor of a dump, as text and as JSON."""

from typing import Any

import numpy as np

from tfdump.dump.attributes import STATISTIC_PREFIX
from tfdump.dump.reader import Tensor

_HISTOGRAM = "quantile_"
"""The beginning of the attributes that are a histogram, which has thousands of numbers."""

_MOST_NUMBERS = 64


def dtype_text(tensor: Tensor) -> str:
    """Return the dtype of a tensor, and the stored dtype where it differs."""
    return tensor.dtype if tensor.stored_dtype == tensor.dtype else f"{tensor.dtype} as {tensor.stored_dtype}"


def item_of(tensor: Tensor) -> dict[str, Any]:
    """Return a tensor without its values as a record for JSON."""
    return {
        "group": tensor.group,
        **{
            name: value
            for name, value in tensor.attributes.items()
            if not name.startswith((STATISTIC_PREFIX, _HISTOGRAM))
        },
        **_histogram(tensor),
        "shape": list(tensor.shape),
        "declared_shape": tensor.attributes.get("shape"),
        **({} if tensor.inputs is None else {"inputs": list(tensor.inputs)}),
        **({} if tensor.operands is None else {"operands": list(tensor.operands)}),
        **({} if tensor.connected else {"connected": False}),
        "statistics": tensor.statistics,
    }


def _histogram(tensor: Tensor) -> dict[str, Any]:
    """Return how large the histogram of a tensor is, which `tfdump ranges` reads, if it has one."""
    bins = tensor.attributes.get(f"{_HISTOGRAM}bins")
    shift = tensor.attributes.get(f"{_HISTOGRAM}shift")
    return {"quantiles": {"bins": len(bins), "shift": shift}} if isinstance(bins, list) else {}


def attribute_text(value: Any) -> str:
    """Return an attribute as text: of many numbers the first and the last ones, and how many there are."""
    if isinstance(value, float):
        return f"{value:.5g}"
    numbers = np.asarray(value) if isinstance(value, list) else np.zeros(0)
    if numbers.dtype.kind not in "iuf" or numbers.size <= _MOST_NUMBERS:
        return str(value)
    text = np.array2string(numbers, threshold=0, edgeitems=3, separator=", ", max_line_width=10_000)
    return f"{' '.join(text.split()).replace('[ ', '[')} ({numbers.size:,} numbers)"
