"""The description of a tensor of a dump, as text and as JSON."""

from typing import Any

from tfdump.dump.attributes import STATISTIC_PREFIX
from tfdump.dump.reader import Tensor


def dtype_text(tensor: Tensor) -> str:
    """Return the dtype of a tensor, and the stored dtype where it differs."""
    return tensor.dtype if tensor.stored_dtype == tensor.dtype else f"{tensor.dtype} as {tensor.stored_dtype}"


def item_of(tensor: Tensor) -> dict[str, Any]:
    """Return a tensor without its values as a record for JSON."""
    return {
        "group": tensor.group,
        **{name: value for name, value in tensor.attributes.items() if not name.startswith(STATISTIC_PREFIX)},
        "shape": list(tensor.shape),
        "declared_shape": tensor.attributes.get("shape"),
        **({} if tensor.inputs is None else {"inputs": list(tensor.inputs)}),
        **({} if tensor.operands is None else {"operands": list(tensor.operands)}),
        **({} if tensor.connected else {"connected": False}),
        "statistics": tensor.statistics,
    }
