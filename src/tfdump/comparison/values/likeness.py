"""How like two tensors are: the relative L2 distance of their samples, in the layout in which it is smallest."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tfdump.comparison.plain_arrays import Item
from tfdump.comparison.tolerance import default_tolerance
from tfdump.comparison.values.layouts import Layout, laid_out, layouts_between
from tfdump.comparison.values.norms import l2_norm
from tfdump.comparison.values.samples import SampleValues, TensorSample
from tfdump.dtypes import kind_of

NEAR = 0.2
"""The relative L2 distance below which two tensors may be one, computed in another way (int8, a small fault)."""

LOOSEST = 0.02
"""The largest distance of equal tensors of any dtype; that of different tensors is 0.025 and more."""

_NOISE = 0.1
"""The largest distance of equal tensors in units of their spread, so that two tensors near one constant differ."""

_NEAR_NOISE = 0.5


@dataclass(frozen=True)
class Likeness:
    """The distance of two tensors, relative to the golden one, in the best layout.

    `layout` gives the new tensor the shape of the golden one; None if no layout does. `spread` is the L2 norm of the
    distance relative to that of the golden values from their mean.
    """

    distance: float
    spread: float
    layout: Layout | None


UNLIKE = Likeness(math.inf, math.inf, None)


def likeness_of(golden: SampleValues, new: SampleValues, samples: tuple[TensorSample, TensorSample]) -> Likeness:
    """Return how like two samples are, in the first layout in which they are equal, or else in the best one."""
    best, enough = UNLIKE, exact_distance(samples[0].item, samples[1].item)
    for layout in layouts_between(samples[1].shape, samples[0].shape, first=1):
        odd = None if new.odd is None else laid_out(new.odd, layout)
        error = math.inf
        if _same_places(golden.odd, odd):
            error = l2_norm(laid_out(new.values, layout) - golden.values)
        if best.layout is None or _relative(error, golden.norm) < best.distance:
            best = Likeness(_relative(error, golden.norm), _relative(error, golden.spread), layout)
        if best.distance <= enough:
            break
    return best


def _same_places(golden: npt.NDArray[np.bool_] | None, new: npt.NDArray[np.bool_] | None) -> bool:
    if golden is None or new is None:
        return golden is None and new is None
    return bool(np.array_equal(golden, new))


def _relative(error: float, norm: float) -> float:
    if error == 0:
        return 0.0
    return error / norm if norm else math.inf


def exact_distance(golden: Item, new: Item) -> float:
    """Return the largest distance at which two tensors count as equal: the default `--rtol` of their dtypes.

    It is 1e-4 for float32, and 0 for anything but floats and complex numbers.
    """
    if kind_of(golden.dtype) not in "fc":
        return 0.0
    dtypes = [dtype for item in (golden, new) for dtype in (item.dtype, item.stored_dtype)]
    return min(default_tolerance(dtypes).rtol, LOOSEST)


def is_exact(likeness: Likeness, golden: Item, new: Item) -> bool:
    """Tell whether two tensors are equal but for rounding."""
    return likeness.distance <= exact_distance(golden, new) and likeness.spread <= _NOISE


def is_near(likeness: Likeness) -> bool:
    """Tell whether two tensors could be one that was computed in another way."""
    return likeness.distance < NEAR and likeness.spread < _NEAR_NOISE


def whole_layout(layout: Layout, samples: Sequence[TensorSample]) -> Layout:
    """Return the layout of whole tensors for that of their samples."""
    if samples[0].has_examples:
        return layout
    return tuple(None if axis is None else axis - 1 for axis in layout[1:])
