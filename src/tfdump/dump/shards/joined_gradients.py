"""What only gradients have, over all shards: the summed gradients of weights, what is unconnected, and the loss."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from tfdump.accumulators.statistics import ExactNorm
from tfdump.dump import layout
from tfdump.dump.axis0 import EXAMPLE, NONE
from tfdump.dump.composites import sparse_attributes
from tfdump.dump.kinds.tensor_statistics import TensorStatistics
from tfdump.dump.layout import count_overflow, stored_dtype
from tfdump.dump.shards.gradient_sums import (
    CombinedSum,
    PartialSum,
    loss_of,
    read_array,
    read_numbers,
    read_regularization,
)
from tfdump.dump.shards.joined_arrays import JoinedArray
from tfdump.dump.shards.manifest import Manifest
from tfdump.dump.shards.open_shards import OpenShards
from tfdump.dump.shards.stored_forms import StoredForm
from tfdump.errors import DumpError
from tfdump.files.hdf5 import lookup
from tfdump.tensors import Array, PlannedTensor, Sparse, Value

UNCONNECTED = "not connected with the loss in the first batch"
"""Why a tensor that a later batch connected is not in a dump of gradients."""


class SummedGradient:
    """The gradient of one weight, to which the sums of the shards are added in their order.

    `lost` says why they cannot be added up, None if they can.
    """

    def __init__(self, planned: PlannedTensor) -> None:
        self.group = planned.group
        self.info = planned.info
        self.lost: str | None = None
        self._sum = CombinedSum()
        self._shape: tuple[int, ...] | None = None
        self._half = False
        self._is_table = False

    def add(self, file: h5py.File, told: Mapping[str, Any]) -> None:
        """Add the sum of a shard, whose state of the weight is `told`."""
        self._half, self._is_table = told["half"], self._is_table or told["table"]
        self.lost = self.lost or told["lost"]
        partial = PartialSum.read(file, self.info.address, told["terms"])
        if partial.high is None or self.lost is not None:
            return
        if self._shape is not None and partial.high.shape != self._shape:
            self.lost = f"its gradients cannot be added up: {self._shape} in one batch, {partial.high.shape} in another"
            return
        self._shape = partial.high.shape
        self._sum.add(partial)

    def regularize(self, gradient: Array) -> None:
        """Add the gradient of the regularization."""
        if self.lost is None:
            self._sum.add_regularization(gradient)

    def result(self, options: Mapping[str, Any]) -> "SummedValue":
        """Return the gradient as one run stores it with these options."""
        if self._sum.terms:
            total, dense = self._sum.result(self.info.dtype)
        else:
            total = np.zeros(tuple(max(size, 0) for size in self.info.shape or ()))
            dense = total.astype(stored_dtype(self.info.dtype))
        measured = total if self._sum.terms > 1 or self._is_table else dense
        norm = ExactNorm()
        norm.add(measured)
        extra: dict[str, Any] = {}
        if options["statistics"]:
            statistics = TensorStatistics(options["quantiles"])
            statistics.add(dense)
            extra |= statistics.attributes()
        value: Value = dense
        if options["norms_only"]:
            value, extra["reduce"] = np.array(norm.norm), "norm"
        elif options["sparse"] and self._sum.touched is not None:
            rows = np.flatnonzero(self._sum.touched)
            value = Sparse(dense[rows], rows.astype(np.int64)[:, None], dense.shape)
        narrow = options["dtype"]
        if narrow is not None:
            overflowed = count_overflow(value if isinstance(value, np.ndarray) else dense, np.dtype(narrow))
            extra |= {"overflowed": np.int64(overflowed)} if overflowed else {}
        if self._half:
            extra["float16_zeros"] = np.int64(measured.size - int(np.count_nonzero(measured)))
        return SummedValue(value, extra | {"norm": np.float64(norm.norm)})


@dataclass(frozen=True)
class SummedValue:
    """The gradient of one weight as it is stored, and its further attributes."""

    value: Value
    extra: Mapping[str, Any]

    def form(self, dtype: str, wanted: str | None, with_values: bool) -> StoredForm:
        """Return its arrays, for a weight of this dtype; `wanted` replaces the dtype of floats.

        With `with_values` False, there is one array of zero length.
        """
        stored = stored_dtype(dtype, wanted)
        if not with_values:
            shape = np.array(self.value.shape, np.int64)
            array = JoinedArray((0, *self.value.shape[1:]), stored)
            return StoredForm({"": array}, {"axis0": NONE, "values": False, "computed_shape": shape})
        if isinstance(self.value, Sparse):
            with np.errstate(over="ignore", invalid="ignore"):
                values = self.value.values.astype(stored)
            arrays = {
                "values": JoinedArray(values.shape, stored, memory=values),
                "indices": JoinedArray(self.value.indices.shape, np.dtype(np.int64), memory=self.value.indices),
            }
            return StoredForm(arrays, sparse_attributes(NONE, self.value.dense_shape))
        assert isinstance(self.value, np.ndarray)
        with np.errstate(over="ignore", invalid="ignore"):
            dense = self.value.astype(stored)
        return StoredForm({"": JoinedArray(dense.shape, stored, memory=dense)}, {"axis0": NONE})


def stored_float(manifest: Manifest, dtype: str) -> str | None:
    """Return the dtype in which floats of a gradient of this dtype are stored, None for their own."""
    options = manifest.options
    wide = "float32" if options.get("norms_only") and dtype in ("float16", "bfloat16") else None
    return options.get("dtype") or wide


@dataclass(frozen=True)
class JoinedLoss:
    """The loss of all examples, or that of each, and its attributes."""

    values: npt.NDArray[np.float64]
    attributes: Mapping[str, Any]


class LossOfShards:
    """The loss, to which shards are added in their order; `regularization` has the gradients of the regularization."""

    def __init__(self, manifest: Manifest) -> None:
        further = manifest.plan.further
        self._divisors, self._weights = further["divisors"], further["term_weights"]
        self._numbers: list[npt.NDArray[np.float64]] = []
        self._own: float | None = None
        self._attributes: dict[str, Any] = {}
        self.regularization: dict[str, Array] = {}

    def add(self, shards: OpenShards, number: int, addresses: list[str]) -> None:
        """Add one shard; the first one has the regularization, with gradients of these weights."""
        file, sizes = shards.file(number), shards.batch_sizes(number)
        if number == 0:
            self._attributes = dict(lookup(file, layout.LOSS, DumpError).attrs)
            self._own, self.regularization = read_regularization(file, addresses)
        if self._divisors is None:
            numbers, wanted = read_array(file, layout.LOSS), [sum(sizes)]
        else:
            numbers, wanted = read_numbers(file), [len(sizes), len(self._divisors) + 1]
        if list(numbers.shape) != wanted:
            text = f"its numbers have the shape {list(numbers.shape)}, and not {wanted}"
            raise DumpError(f"{file.filename}: the loss is damaged: {text}")
        self._numbers.append(numbers)

    def result(self) -> JoinedLoss:
        """Return the loss."""
        numbers, attributes = np.concatenate(self._numbers), {"dtype": self._attributes["dtype"]}
        if self._divisors is None:
            left_out = self._attributes.get("regularization_left_out")
            attributes |= {} if left_out is None else {"regularization_left_out": np.float64(left_out)}
            return JoinedLoss(numbers, attributes | {"axis0": EXAMPLE})
        divisors, weights = (np.array([float.fromhex(item) for item in x]) for x in (self._divisors, self._weights))
        loss = loss_of(numbers, divisors, weights.tolist(), self._own)
        attributes |= {} if self._own is None else {"regularization": np.float64(self._own)}
        return JoinedLoss(np.array(loss, np.float64), attributes | {"axis0": NONE})
