"""One tensor through a series of dumps: its shape, norm and statistics in each of them."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tfdump.dtypes import STRING
from tfdump.dump.series import Series, SeriesDump, locate
from tfdump.dump.tensor import Tensor
from tfdump.statistics.statistics import statistics_of


@dataclass(frozen=True)
class SeriesEntry:
    """A tensor in one dump of a series; `loss` is the loss of that dump if it is a single number.

    `norm` is the stored norm of a gradient. `statistics` are the stored ones or, if there are values, those computed
    from them: `count`, `min`, `max`, `mean`, `std`, `l2`, `nan`, `inf`, `zero`.
    """

    dump: SeriesDump
    shape: tuple[int, ...]
    dtype: str
    connected: bool
    loss: float | None
    norm: float | None
    statistics: dict[str, int | float] | None


@dataclass(frozen=True)
class TensorHistory:
    """A tensor, by its full name, through a series: the dumps that have it, and the other dumps of that kind."""

    name: str
    places: tuple[SeriesEntry, ...]
    without: tuple[SeriesDump, ...]


def follow(series: Series, address: str) -> TensorHistory:
    """Follow a tensor, named as in `Dump`, through a series.

    Values are read in pieces, so memory stays flat. Raises DumpError with near names if no dump has it.
    """
    located = locate(series, address)
    return TensorHistory(
        located.name, tuple(_followed(place, located.name) for place in located.dumps), located.without
    )


def _followed(place: SeriesDump, name: str) -> SeriesEntry:
    with place.open() as dump:
        tensor = dump[name]
        norm = tensor.norm
        return SeriesEntry(
            place,
            tensor.shape,
            tensor.dtype,
            tensor.connected,
            single_loss(dump.loss),
            None if isinstance(norm, list) else norm,
            tensor.statistics or _computed(tensor),
        )


def single_loss(loss: npt.NDArray[np.float64] | None) -> float | None:
    """Return the loss of a dump if it is one number, and not one per step or example."""
    return float(loss) if loss is not None and loss.ndim == 0 else None


def _computed(tensor: Tensor) -> dict[str, int | float] | None:
    """Return the statistics of the values of a tensor; None if it has no values, or holds text."""
    if not (tensor.connected and tensor.has_values) or tensor.dtype == STRING:
        return None
    return dict(vars(statistics_of(tensor.parts())))
