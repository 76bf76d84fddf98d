"""What is stored of gradients: whole, as norms, or as the touched rows of tables."""

from dataclasses import dataclass, field, replace

import numpy as np

from tfdump.dtypes import kind_of
from tfdump.run.options import StoreOptions
from tfdump.statistics.reduction import LEAST_SOUND_NORM, Reduced, Reduction
from tfdump.tensors import Array, TensorInfo


@dataclass(frozen=True)
class GradientStore:
    """What is stored of gradients: `tensors` as of any dump, or only their norms, or the touched rows of tables."""

    tensors: StoreOptions = field(default_factory=StoreOptions)
    norms_only: bool = False
    sparse: bool = False

    def for_info(self, info: TensorInfo) -> StoreOptions:
        """Return what is stored of a tensor with rows; norms of float16 rows are stored as float32, to fit."""
        if not self.norms_only:
            return self.tensors
        wide = "float32" if info.dtype in ("float16", "bfloat16") else None
        return replace(self.tensors, reduction=RowNorms("norm", None), dtype=self.tensors.dtype or wide)


class RowNorms(Reduction):
    """The L2 norm of every row, computed in float64."""

    def axes_of(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return all axes but the first."""
        return tuple(range(1, len(shape))) or (0,)

    def dtype_of(self, dtype: str) -> str:
        """Return the dtype in which norms are stored: float64 for complex numbers."""
        return "float64" if kind_of(dtype) == "c" else super().dtype_of(dtype)

    def reduce(self, values: Array) -> Reduced:
        """Return one norm per row, float64; of a single number, its magnitude.

        Where squares overflow float64, or underflow in it, they are summed in the longest float.
        """
        magnitudes = np.abs(values)
        wide = magnitudes.astype(np.float64)
        axes = tuple(range(1, wide.ndim))
        with np.errstate(all="ignore"):
            norms = np.asarray(np.sqrt(np.sum(np.square(wide), axis=axes)))
            sound = np.isfinite(norms) & (norms > LEAST_SOUND_NORM)
            if magnitudes.dtype != np.float64 or sound.all():
                return Reduced(norms)
            longest = np.sqrt(np.sum(np.square(wide.astype(np.longdouble)), axis=axes))
            return Reduced(np.asarray(np.where(sound, norms, longest).astype(np.float64)))
