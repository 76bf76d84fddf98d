"""Where gradients go: summed over the batches, or row by row; with their norms, and the zeros of float16 counted."""

from typing import Any

import numpy as np

from tfdump.dtypes import numpy_dtype
from tfdump.dump.axis0 import NONE
from tfdump.dump.collectors import Collector
from tfdump.run.gradients.lookups import LookupRows
from tfdump.run.gradients.store import GradientStore
from tfdump.run.sinks import OpenCollector, TensorSink, count_overflow
from tfdump.statistics.statistics import StatisticsAccumulator, statistics_attributes
from tfdump.tensors import Array, Sparse, TensorInfo, Value

BLOCK = 1 << 13
"""Elements that are squared at once: few enough for the cache, and for one thread, as the others run the model."""

MOST_NORMS = 4000
"""Norms that fit into an attribute, one a step."""


_LEAST_SOUND = 1e-280
"""Below it, squares that vanished in float64 may be missing in their sum."""


def _sum_of_squares(block: Array) -> np.longdouble:
    """Return the sum of squares in float64, or in the longest float where it overflows that or vanishes in it."""
    with np.errstate(all="ignore"):
        total = np.dot(block, block)
        if not _LEAST_SOUND < total < np.inf and block.any():
            wide = block.astype(np.longdouble)
            return np.longdouble(np.dot(wide, wide))
    return np.longdouble(total)


class _Attributes:
    """The norm of a gradient and the zeros among numbers that passed through float16."""

    def __init__(self, half: bool) -> None:
        self._half = half
        self._squares = np.longdouble(0)  # those of float64 may overflow it where their norm does not
        self.zeros = 0

    def add(self, values: Array) -> None:
        if self._half:
            self.zeros += values.size - int(np.count_nonzero(values))
        flat = (np.abs(values) if values.dtype.kind == "c" else values).reshape(-1)
        for start in range(0, flat.size, BLOCK):
            self._squares += _sum_of_squares(flat[start : start + BLOCK].astype(np.float64))

    def take_norm(self) -> float:
        """Return the norm of what was added since it was last asked for."""
        norm, self._squares = float(np.sqrt(self._squares)), np.longdouble(0)
        return norm

    def state(self) -> list[int | str]:
        return [self.zeros, self._squares.tobytes().hex()]

    def restore(self, state: list[Any]) -> None:
        self.zeros = state[0]
        self._squares = np.frombuffer(bytes.fromhex(state[1]), np.longdouble)[0]

    def as_dict(self, norms: list[float], stepwise: bool) -> dict[str, Any]:
        found: dict[str, Any] = {"float16_zeros": np.int64(self.zeros)} if self._half else {}
        if not stepwise:
            found["norm"] = np.float64(norms[-1] if norms else 0.0)
        elif len(norms) <= MOST_NORMS:
            found["norm"] = np.array(norms, np.float64)
        return found


class RowsSink(TensorSink):
    """Takes gradients with a row an example, or such that belong to their batch."""

    def __init__(
        self,
        group: str,
        info: TensorInfo,
        axis0: str,
        store: GradientStore,
        open_collector: OpenCollector,
        half: bool,
        padded_to: int | None = None,
    ) -> None:
        super().__init__(group, info, axis0, store.for_info(info), open_collector, padded_to)
        self._attributes = _Attributes(half)
        self._norms: list[float] = []
        self.steps = 0

    @property
    def norm(self) -> float | None:
        """The norm of all rows together."""
        return self._norms[-1] if self._norms else None

    @property
    def lost(self) -> str | None:
        """Why the batches cannot be stored together, or None."""
        return self.kind.lost

    @property
    def finite(self) -> bool:
        """Whether no step gave NaN or infinite values."""
        return bool(np.isfinite(self._norms).all())

    @property
    def zeros(self) -> int:
        """How many numbers that passed through float16 are zero."""
        return self._attributes.zeros

    @property
    def busy(self) -> bool:
        """Whether `prepare` looks at every value: it does, for the norm."""
        return True

    def _measure(self, value: Value) -> None:
        """Take the gradient of one batch into the norm."""
        self._attributes.add(value if isinstance(value, np.ndarray) else value.values)

    def state(self) -> dict[str, Any]:
        """Return what is summed up so far, as JSON that keeps every bit."""
        return super().state() | {"attributes": self._attributes.state()}

    def restore(self, state: dict[str, Any]) -> None:
        """Bring what is summed up to a state."""
        super().restore(state)
        self._attributes.restore(state["attributes"])

    def end_step(self) -> None:
        """Note that all batches of a step have come."""
        self.steps += 1
        self._norms.append(self._attributes.take_norm())

    def finish(self) -> tuple[Collector | None, dict[str, Any]]:
        """Return the collector, and the attributes that it does not know."""
        collector, extra = super().finish()
        return collector, extra | self._attributes.as_dict(self._norms, stepwise=self.steps > 1)


class SumSink:
    """Adds up the gradients of the batches in float64; a single batch keeps its own numbers."""

    def __init__(
        self, group: str, info: TensorInfo, store: GradientStore, open_collector: OpenCollector, half: bool
    ) -> None:
        self.group = group
        self.info = info
        self.steps = 0
        self._store = store
        self._open = open_collector
        self._collector: Collector | None = None
        self._statistics = StatisticsAccumulator() if store.store.statistics else None
        self._attributes = _Attributes(half)
        self._norms: list[float] = []
        self._one: Array | None = None
        self._sum: Array | None = None
        self._touched: Array | None = None
        self._dense = np.zeros(())
        self.lost: str | None = None
        self.overflowed = 0
        self.is_table = False
        self.lookups: LookupRows | None = None  # where a descent wants the rows of a table one by one

    @property
    def norm(self) -> float | None:
        """The norm of the gradient, at the last step."""
        return self._norms[-1] if self._norms else None

    @property
    def finite(self) -> bool:
        """Whether no step gave NaN or infinite values."""
        return bool(np.isfinite(self._norms).all())

    @property
    def zeros(self) -> int:
        """How many numbers that passed through float16 are zero."""
        return self._attributes.zeros

    def add(self, value: Value, examples: int = 0) -> None:
        """Add the gradient of one batch; one of a table lists the rows that it touches, perhaps repeatedly."""
        before = self._sum if self._sum is not None else self._one
        if before is not None and tuple(value.shape) != before.shape:
            self.lost = f"its gradients cannot be added up: {before.shape} in one batch, {value.shape} in another"
        if self.lost is not None:
            return
        if isinstance(value, Sparse):
            total = self._in_float64(value.dense_shape)
            if self._touched is None:
                self._touched = np.zeros(value.dense_shape[:1], bool)
                self.is_table = True
            rows = value.indices[:, 0]
            with np.errstate(invalid="ignore", over="ignore"):
                np.add.at(total, rows, value.values)
            self._touched[rows] = True
            if self.lookups is not None:
                self.lookups.add(self.info.address, value)
            return
        if self.lookups is not None:
            self.lookups.add_dense(self.info.address)
        if self._touched is not None:  # of a regularised table
            self._touched[:] = True
        if self._one is None and self._sum is None:
            self._one = np.asarray(value)
        else:
            total = self._in_float64(value.shape)
            with np.errstate(invalid="ignore", over="ignore"):
                total += np.asarray(value)

    @property
    def busy(self) -> bool:
        """Whether `prepare` looks at every value: it does nothing."""
        return False

    def prepare(self, value: Value, examples: int) -> Value:
        """Return the value: what is summed up is nowhere but in the sum, to which `store` adds it."""
        return value

    def store(self, value: Value) -> None:
        """Add the gradient of one batch."""
        self.add(value)

    def kept(self, value: Value) -> Value:
        """Return the value."""
        return value

    def state(self) -> None:
        """Return nothing: the values themselves are kept, and summed up again."""

    def restore(self, state: None) -> None:
        """Do nothing."""

    def _in_float64(self, shape: tuple[int, ...]) -> Array:
        if self._sum is None:
            self._sum = np.zeros(shape, np.complex128 if "complex" in self.info.dtype else np.float64)
            if self._one is not None:
                self._sum += self._one
                self._one = None
        return self._sum

    @property
    def gradient(self) -> Array:
        """The gradient of the last complete step, dense, in the dtype of the weight."""
        return self._dense

    def take_for_optimizer(self) -> Value:
        """Return the gradient of the last complete step as an optimizer takes it: the rows of `lookups`, or dense."""
        rows = self.lookups.take(self.info.address) if self.lookups is not None else None
        return self._dense if rows is None else rows

    def end_step(self) -> None:
        """Make the sum the gradient of this step, store it, and begin the next one."""
        shape = tuple(max(size, 0) for size in self.info.shape or ())
        found = self._sum if self._sum is not None else self._one
        total = np.zeros(shape) if found is None else found
        with np.errstate(over="ignore", invalid="ignore"):
            self._dense = total.astype(numpy_dtype(self.info.dtype), copy=False)
        self._attributes.add(total if self._sum is not None else self._dense)
        if self._statistics is not None:
            self._statistics.add(self._dense)
        self._norms.append(self._attributes.take_norm())
        self.steps += 1
        if self.lost is not None:
            self._collector = self._one = self._sum = self._touched = None
            return
        value: Value = self._dense
        if self._store.norms_only:
            value = np.array(self._norms[-1])
        elif self._store.sparse and self._touched is not None:
            rows = np.flatnonzero(self._touched)
            value = Sparse(self._dense[rows], rows.astype(np.int64)[:, None], self._dense.shape)
        narrow = self._store.store.dtype
        if narrow is not None:
            stored = value if isinstance(value, np.ndarray) else self._dense
            self.overflowed += count_overflow(stored, np.dtype(narrow))
        if self._collector is None:
            self._collector = self._open(self.info, value, NONE)
        self._collector.append(value)
        self._one = self._sum = self._touched = None

    def finish(self) -> tuple[Collector | None, dict[str, Any]]:
        """Return the collector, and the attributes that it does not know."""
        extra: dict[str, Any] = {}
        if self._statistics is not None:
            extra |= statistics_attributes(self._statistics.result())
        if self._store.norms_only:
            extra["reduce"] = "norm"
        if self.overflowed:
            extra["overflowed"] = np.int64(self.overflowed)
        return self._collector, extra | self._attributes.as_dict(self._norms, stepwise=self.steps > 1)
