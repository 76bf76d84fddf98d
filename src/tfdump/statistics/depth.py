"""The size of every layer's tensor in the order of execution, which shows where a gradient vanishes or explodes."""

import math
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from tfdump.dtypes import kind_of
from tfdump.dump import layout
from tfdump.dump.axis0 import NONE
from tfdump.dump.reader import Dump, Tensor
from tfdump.errors import DumpError
from tfdump.statistics.statistics import statistics_of

_GRADIENTS = (layout.WEIGHT_GRADIENTS, layout.ACTIVATION_GRADIENTS, layout.INPUT_GRADIENTS)


@dataclass(frozen=True)
class LayerSize:
    """The size of one tensor.

    `rms` is the root mean square, `std` the standard deviation and `norm` the L2 norm, over the finite values. `norms`
    has the norm at every step if the dump has several steps. `nan` and `inf` are the numbers of other values. `rank` is
    that of a weight, or of the value of one example. Without a finite value, the sizes are NaN.
    """

    address: str
    rank: int
    rms: float
    std: float
    norm: float
    norms: tuple[float, ...]
    nan: int
    inf: int


@dataclass(frozen=True)
class Depth:
    """The sizes of the tensors of one group of a dump, in the order of execution.

    `left_out` has the tensors without a size, with the reason: text, not connected, or no values.
    """

    group: str
    layers: tuple[LayerSize, ...]
    left_out: tuple[tuple[str, str], ...]

    @property
    def is_gradient(self) -> bool:
        """Whether the tensors are gradients, for which the norm says more than the root mean square."""
        return self.group in _GRADIENTS


def depth_of(dump: Dump, selected: Collection[tuple[str, str]] | None = None) -> list[Depth]:
    """Return the sizes of the layers, one record per group: gradients if there are any, else activations.

    Stored statistics and norms are used if they exist; otherwise values are read once, in flat memory. `selected` has
    the groups and addresses to look at. Raises DumpError if nothing remains.
    """
    gradients = [group for group in _GRADIENTS if dump.groups.get(group)]
    gradients = [group for group in gradients if group != layout.INPUT_GRADIENTS] or gradients  # inputs are not layers
    groups = gradients or [group for group in (layout.ACTIVATIONS, layout.OUTPUTS) if dump.groups.get(group)][:1]
    depths = []
    for group in groups:
        names = [name for name in dump.groups[group] if selected is None or (group, name) in selected]
        layers, left_out = [], []
        for name in names:
            tensor = dump[f"{group}/{name}"]
            reason = _without_size(tensor)
            if reason is None:
                layers.append(size_of(tensor))
            else:
                left_out.append((name, reason))
        if layers:
            depths.append(Depth(group, tuple(layers), tuple(left_out)))
    if not depths:
        raise DumpError(f"{dump.name} has no tensor whose size is known (dump it with values, --stats or --norms-only)")
    return depths


def size_of(tensor: Tensor) -> LayerSize:
    """Return how large one tensor is; raises DumpError if it has no statistics, no norm and no values."""
    stored = tensor.statistics
    norm = tensor.norm
    norms = tuple(norm) if isinstance(norm, list) else () if norm is None else (norm,)
    nan = inf = 0
    rms = std = l2 = math.nan
    if stored is None and not norms:
        stored = dict(vars(statistics_of(tensor.parts())))
        if tensor.encoding == "sparse":  # what is not stored is 0
            stored["count"] = int(np.prod(tensor.shape))
    if stored is not None:
        nan, inf = int(stored.get("nan", 0)), int(stored.get("inf", 0))
        finite = int(stored.get("count", 0)) - nan - inf
        l2, std = float(stored.get("l2", math.nan)), float(stored.get("std", math.nan))
        rms = l2 / math.sqrt(finite) if finite > 0 else math.nan
    if norms:
        l2 = norms[-1]
        nan += sum(math.isnan(value) for value in norms[-1:])
        inf += sum(math.isinf(value) for value in norms[-1:])
    elif not finite:
        l2 = math.nan
    return LayerSize(tensor.address, _rank(tensor), rms, std, l2, norms, nan, inf)


def _without_size(tensor: Tensor) -> str | None:
    """Return why a tensor has no size, or None."""
    if not tensor.connected:
        return "not connected"
    if kind_of(tensor.dtype) in "SV":
        return tensor.dtype
    if tensor.statistics is None and tensor.norm is None and not tensor.has_values:
        return "no values"
    if 0 in tensor.shape and tensor.norm is None:
        return "empty"
    return None


def _rank(tensor: Tensor) -> int:
    return len(tensor.shape) - int(tensor.attributes.get("axis0", NONE) != NONE)
