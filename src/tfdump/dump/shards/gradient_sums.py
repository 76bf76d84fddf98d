"""The sums over the batches of a shard that one run would have gone on with: gradients of weights, and losses."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import h5py
import numpy as np
import numpy.typing as npt

from tfdump.accumulators.sums import ArraySum, float_sum
from tfdump.dtypes import numpy_dtype
from tfdump.dump.parts import load_filter
from tfdump.dump.shards.shard_file import NUMBERS, REGULARIZATION, SUMS
from tfdump.errors import DumpError
from tfdump.files.hdf5 import damage, has_link, lookup
from tfdump.tensors import Array


@dataclass(frozen=True)
class PartialSum:
    """The sum of the gradients of one weight over `terms` batches, as pairs of float64.

    `low` is None where it is 0 everywhere. `touched` tells which rows of a table have a gradient, None for other
    weights. Without a term, `high` is None.
    """

    terms: int
    high: Array | None
    low: Array | None = None
    touched: npt.NDArray[np.bool_] | None = None

    def arrays(self, address: str) -> dict[str, Array]:
        """Return what a shard stores, by path."""
        parts = {"high": self.high, "low": self.low, "touched": self.touched}
        return {f"{SUMS}/{address}/{name}": values for name, values in parts.items() if values is not None}

    @classmethod
    def read(cls, file: h5py.File, address: str, terms: int) -> "PartialSum":
        """Return the sum of a weight in an open shard, whose state tells the number of terms."""
        if not terms:
            return cls(0, None)
        high = read_array(file, f"{SUMS}/{address}/high")
        low, touched = (
            read_array(file, path) if has_link(file, path) else None
            for path in (f"{SUMS}/{address}/low", f"{SUMS}/{address}/touched")
        )
        return cls(terms, high, low, touched)


class CombinedSum:
    """The sum of the gradients of one weight over all shards and the regularization, as one run adds them."""

    def __init__(self) -> None:
        self.terms = 0
        self.touched: npt.NDArray[np.bool_] | None = None
        self._one: Array | None = None
        self._sum: ArraySum | None = None

    def add(self, partial: PartialSum) -> None:
        """Add the sum of a shard."""
        if partial.high is None:
            return
        self.terms += partial.terms
        if self._one is None and self._sum is None:
            self._one = partial.high
        else:
            self._in_pairs().add(partial.high)
        if partial.low is not None:
            self._in_pairs().add(partial.low)
        if partial.touched is not None:
            self.touched = partial.touched if self.touched is None else self.touched | partial.touched

    def add_regularization(self, gradient: Array) -> None:
        """Add the gradient of the regularization, which touches every row of a table."""
        wide = np.complex128 if gradient.dtype.kind == "c" else np.float64
        self.add(PartialSum(1, gradient.astype(wide)))
        if self.touched is not None:
            self.touched = np.ones_like(self.touched)

    def result(self, dtype: str) -> tuple[Array, Array]:
        """Return the sum in float64, of which the norm is taken, and in the dtype of the weight.

        There must have been a term.
        """
        total = self._sum.result() if self._sum is not None else self._one
        assert total is not None
        with np.errstate(over="ignore", invalid="ignore"):
            return total, total.astype(numpy_dtype(dtype), copy=False)

    def _in_pairs(self) -> ArraySum:
        if self._sum is None:
            assert self._one is not None
            self._sum = ArraySum(self._one.shape, self._one.dtype)
            self._sum.add(self._one)
            self._one = None
        return self._sum


def arrays_beside(
    numbers: Array | None, regularization: float | None, gradients: Mapping[str, Array | None]
) -> dict[str, Array]:
    """Return what a shard stores beside the sums, by path.

    `numbers` has a row for each batch: the sum of each term of the loss, and the sum of what layers add. The first
    shard has the `regularization`, and its `gradients` by the addresses of the weights.
    """
    arrays = {} if numbers is None else {NUMBERS: numbers}
    if regularization is not None:
        arrays[f"{REGULARIZATION}/loss"] = np.array(regularization, np.float64)
        arrays |= {
            f"{REGULARIZATION}/gradients/{address}": gradient
            for address, gradient in gradients.items()
            if gradient is not None
        }
    return arrays


def read_numbers(file: h5py.File) -> npt.NDArray[np.float64]:
    """Return the numbers beside the values in an open shard, one row per batch."""
    return read_array(file, NUMBERS)


def read_regularization(file: h5py.File, addresses: Sequence[str]) -> tuple[float | None, dict[str, Array]]:
    """Return the regularization in an open shard, None where there is none, and its gradients by address."""
    loss = f"{REGULARIZATION}/loss"
    if not has_link(file, REGULARIZATION):
        return None, {}
    paths = {address: f"{REGULARIZATION}/gradients/{address}" for address in addresses}
    return float(read_array(file, loss)), {
        a: read_array(file, path) for a, path in paths.items() if has_link(file, path)
    }


def loss_of(
    numbers: npt.NDArray[np.float64],
    divisors: npt.NDArray[np.float64] | None,
    weights: Sequence[float],
    regularization: float | None = None,
) -> float:
    """Return the loss of some batches, from the rows of `numbers`.

    `divisors` divide the terms of the loss (None stands for ones), and `weights` weigh them.
    """
    sums = np.array([float_sum(column) for column in numbers.T])
    ones = np.ones(len(sums) - 1) if divisors is None else divisors
    with np.errstate(divide="ignore", invalid="ignore"):
        means = np.where(ones == 0, 0.0, sums[:-1] / ones)
    loss = float(np.dot(means, weights) + sums[-1])
    return loss if regularization is None else loss + regularization


def norm_of_all(norms: Sequence[float | None]) -> np.float64:
    """Return the norm of all weights together, from their norms in the order of the weights."""
    wide = np.array([norm or 0.0 for norm in norms], np.longdouble)  # squares may overflow float64
    return np.float64(np.sqrt(np.sum(np.square(wide))))


def read_array(file: h5py.File, path: str) -> Array:
    """Return all values of a dataset in an open shard; raises DumpError where it is damaged."""
    where, dataset = f"{file.filename}: '/{path}'", lookup(file, path, DumpError)
    if not isinstance(dataset, h5py.Dataset):
        raise DumpError(f"{where} is damaged: it is no dataset")
    with damage(DumpError, where):
        load_filter(dataset)
        values: Array = np.asarray(dataset[()])
    return values
