"""The arrays of a tensor, their names, and why a tensor has none."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from tfdump.dump import layout
from tfdump.dump.attributes import full_name
from tfdump.dump.examples import StoredExamples
from tfdump.dump.quantization import QuantizationParameters
from tfdump.dump.reader import Dump
from tfdump.dump.slicing import Slicing
from tfdump.dump.tensor import Tensor
from tfdump.dump.view import MemoryPart, View, WatchedView, views_of
from tfdump.exports.quantized import exported_quantization
from tfdump.process.stages import Meter, Progress


@dataclass(frozen=True)
class Exported:
    """A tensor to be written in another format: `name` is its group and address, `views` has its arrays by part.

    If `views` is empty, `reason` says why. `ids` are the names of the rows, where these are written beside the values.
    `computed_dtype` is the dtype in which the model computed these very values; "" if they were reduced or added up.
    `quantization` tells how the integers of `views` stand for real numbers, if they do.
    """

    name: str
    address: str
    views: Mapping[str, View] = field(default_factory=dict)
    reason: str = ""
    dtype: str = ""
    class_name: str = ""
    axis0: str = ""
    ids: StoredExamples | None = None
    computed_dtype: str = ""
    quantization: QuantizationParameters | None = None


def exported(tensor: Tensor, slicing: Slicing | None = None) -> Exported:
    """Return a tensor that has values as arrays, a sparse one with its `dense_shape`; raises what `views_of` raises."""
    views = views_of(tensor, slicing)
    if "" not in views and tensor.encoding == "sparse":
        views["dense_shape"] = View(MemoryPart(np.array(tensor.shape, np.int64)))
    return replace(_exported(tensor, views), quantization=exported_quantization(tensor, slicing))


def exported_all(tensors: Iterable[Tensor]) -> Iterator[Exported]:
    """Yield every tensor as arrays; a tensor without values has none, and the reason."""
    for tensor in tensors:
        reason = tensor.without_values
        if reason:
            yield _exported(tensor, {}, reason)
        else:
            yield exported(tensor)


def exported_loss(dump: Dump) -> Exported | None:
    """Return the loss of a dump of gradients, or None if there is none."""
    loss = dump.loss
    if loss is None:
        return None
    return Exported(layout.LOSS, layout.LOSS, {"": View(MemoryPart(loss))}, dtype="float64", axis0=dump.loss_axis)


def _exported(tensor: Tensor, views: Mapping[str, View], reason: str = "") -> Exported:
    class_name, axis0 = (str(tensor.attributes.get(name, "")) for name in ("class", "axis0"))
    return Exported(
        full_name(tensor), tensor.address, views, reason, tensor.dtype, class_name, axis0,
        computed_dtype=computed_dtype_of(tensor),
    )  # fmt: skip


def computed_dtype_of(tensor: Tensor) -> str:
    """Return the dtype in which the model computed the values; "" if they were reduced or added up afterwards."""
    as_computed = "reduce" not in tensor.attributes and not tensor.group.startswith(layout.GRADIENTS)
    return tensor.dtype if as_computed else ""


def watched(tensors: Sequence[Exported], progress: Progress) -> list[Exported]:
    """Return the same tensors; `progress` is called with the number of values read, and of all values."""
    meter = Meter(sum(view.size for tensor in tensors for view in tensor.views.values()), progress)
    return [
        replace(tensor, views={part: WatchedView(view, meter.add) for part, view in tensor.views.items()})
        for tensor in tensors
    ]


def member_names(tensors: Iterable[Exported]) -> dict[tuple[str, str], str]:
    """Return the name in an archive of every array, by tensor and part: `group/address`, followed by `.part`.

    If another tensor has that name, the dot before the part is percent-encoded.
    """
    tensors = list(tensors)
    tensor_names = {tensor.name for tensor in tensors}
    members: dict[tuple[str, str], str] = {}
    for tensor in tensors:
        for part in tensor.views:
            plain = f"{tensor.name}.{part}" if part else tensor.name
            members[tensor.name, part] = f"{tensor.name}%2E{part}" if part and plain in tensor_names else plain
    return members
