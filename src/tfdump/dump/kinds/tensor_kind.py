"""What the batches of one tensor tell about it: whether it has one row per example, its dtype and its shape."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tfdump.dtypes import dtype_name, kind_of
from tfdump.dump.axis0 import BATCH, EXAMPLE
from tfdump.dump.layout import common_dtype, stored_dtype
from tfdump.tensors import Ragged, Sparse, TensorInfo, Value


@dataclass(frozen=True)
class Departure:
    """The first batch, counted from 1, whose number of rows is not that of its examples; -1 rows for a scalar.

    The number is that in the whole run, like every number of a batch that `TensorKind` tells.
    """

    batch: int
    rows: int
    examples: int


class TensorKind:
    """What one tensor is, according to its batches so far: `axis0`, and the dtype and shape of `info`.

    `padded_to` is the number of examples to which every batch is padded, or None. `options` are the options of the
    command line that fix the kind of the dtype in advance. `before` is the number of batches of the whole run before
    the first one of this part.

    `departure` is the batch after which the tensor no longer counts as having one row per example, `varied` the number
    of the batch in which a constant first changed, `uneven` of the batch whose rows first had another shape. `widened`
    has the dtype of the first batches, that of a later batch and its number. `lost` is the reason why the batches
    cannot be stored together. All of these are None or 0 otherwise.
    """

    def __init__(
        self, info: TensorInfo, axis0: str, padded_to: int | None = None, options: str = "", before: int = 0
    ) -> None:
        self.info = info
        self.axis0 = axis0
        self.batches = 0
        self.departure: Departure | None = None
        self.varied = 0
        self.uneven = 0
        self.widened: tuple[str, str, int] | None = None
        self.lost: str | None = None
        self._padded_to = padded_to
        self._options = options
        self._before = before
        self._form: tuple[Any, ...] | None = None
        self._dtype = ""
        self._tracks_shape = False
        self._row_shape: tuple[int, ...] | None = None
        self._sizes: tuple[int, ...] | None = None

    @property
    def _number(self) -> int:
        """The number of this batch in the whole run, counted from 1."""
        return self._before + self.batches

    def take(self, value: Value, examples: int) -> Value:
        """Take in the value for one batch of so many examples; return it without the rows of padding.

        A value with one row for each example that was fed is cut to the rows that count. Any other value stays whole.
        """
        self.batches += 1
        self._take_form(value)
        self._take_dtype(dtype_name(value.dtype))
        self._take_shape(value)
        if self.axis0 != EXAMPLE:
            return value
        fed, rows = self._padded_to or examples, rows_of(value)
        if rows == fed:
            return value if fed == examples else first_rows(value, examples)
        self.axis0, self.departure = BATCH, Departure(self._number, rows, examples)
        return value

    def _take_form(self, value: Value) -> None:
        form = _form(value)
        if self._form is None:
            self._form = form
        elif form != self._form and self.lost is None:
            self.lost = changed_form(self._form, form, self._number)

    def _take_dtype(self, dtype: str) -> None:
        if not self._dtype:
            self._dtype = dtype if self._holds(dtype) else self.info.dtype
        if dtype == self._dtype or self.lost is not None:
            return
        wide = common_dtype(self._dtype, dtype)
        change = f"its dtype changes from {self._dtype} to {dtype} in batch {self._number}"
        if wide is None:
            self.lost = f"{change}, and no dtype holds both"
        elif self._options and kind_of(wide) != kind_of(self._dtype):
            self.lost = f"{change} (leave {self._options} out)"
        else:
            self.widened = self.widened or (self._dtype, dtype, self._number)
            self._dtype = wide
            self.info = replace(self.info, dtype=wide)

    def _holds(self, dtype: str) -> bool:
        """Tell whether the dtype of the first batch of the whole run holds values of a dtype."""
        planned = self.info.dtype
        return not self._before or common_dtype(planned, dtype) == dtype_name(stored_dtype(planned))

    def _take_shape(self, value: Value) -> None:
        """Open the axes of the shape that differ from batch to batch, where the shape is that of the first batch."""
        declared, shape = self.info.shape, tuple(value.shape)
        self._sizes = shape if self.batches == 1 else common_shape(self._sizes, shape)
        if declared is None:
            return
        fits = common_shape(declared, shape) == declared
        if self.batches == 1:
            self._tracks_shape = fits
        if not fits and self._tracks_shape:
            self.info = replace(self.info, shape=common_shape(declared, shape))

    def vary(self) -> None:
        """Note that a constant changed in this batch, so that it belongs to its batch."""
        self.axis0, self.varied = BATCH, self._number

    def take_rows(self, value: Value) -> None:
        """Take in the part of the value that is stored: rows of another shape make the tensor belong to its batch."""
        if self.axis0 != EXAMPLE or not isinstance(value, np.ndarray):
            return
        if self._row_shape is None:
            self._row_shape = value.shape[1:]
        elif value.shape[1:] != self._row_shape:
            self.axis0, self.uneven = BATCH, self._number

    @property
    def depends_on_batch(self) -> bool:
        """Whether the tensor is not as planned, so that its values depend on the batches."""
        return self.departure is not None or bool(self.varied or self.uneven)

    def state(self) -> dict[str, Any]:
        """Return what the batches told so far, as JSON.

        `form` is what all batches must share to be stored together, `rows` the shape of a row as it is stored, and
        `sizes` the shape of the values before they are stored, with -1 where it differs between batches.
        """
        departure = self.departure
        return {
            "batches": self.batches,
            "axis0": self.axis0,
            "departure": None if departure is None else [departure.batch, departure.rows, departure.examples],
            "varied": self.varied,
            "uneven": self.uneven,
            "widened": self.widened,
            "lost": self.lost,
            "dtype": [self._dtype, self.info.dtype],
            "shape": self.info.shape,
            "form": self._form,
            "rows": self._row_shape,
            "sizes": self._sizes,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Restore a state that `state` returned. The first batch must have been taken before."""
        departure, widened, shape = state["departure"], state["widened"], state["shape"]
        self.batches, self.axis0, self.varied, self.uneven, self.lost = (
            state[name] for name in ("batches", "axis0", "varied", "uneven", "lost")
        )
        self.departure = None if departure is None else Departure(*departure)
        self.widened = None if widened is None else (widened[0], widened[1], widened[2])
        self._sizes = None if state["sizes"] is None else tuple(state["sizes"])
        self._dtype, dtype = state["dtype"]
        self.info = replace(self.info, dtype=dtype, shape=None if shape is None else tuple(shape))


def rows_of(value: Value) -> int:
    """Return the length of a value along axis 0, -1 where it has no axis."""
    return int(value.shape[0]) if value.shape else -1


def first_rows(value: Value, count: int) -> Value:
    """Return the first `count` rows of a value."""
    if isinstance(value, Ragged):
        splits, stop = [], count
        for level in value.row_splits:
            splits.append(level[: stop + 1])
            stop = int(level[stop]) if stop < len(level) else int(level[-1])
        return Ragged(value.values[:stop], tuple(splits))
    if isinstance(value, Sparse):
        inside = value.indices[:, 0] < count
        rows = min(count, value.dense_shape[0])
        return Sparse(value.values[inside], value.indices[inside], (rows, *value.dense_shape[1:]))
    return value[:count]


def common_shape(first: tuple[int, ...] | None, second: tuple[int, ...] | None) -> tuple[int, ...] | None:
    """Return a shape with -1 for the axes in which two shapes differ, None where their ranks differ."""
    if first is None or second is None or len(first) != len(second):
        return None
    return tuple(a if a == b else -1 for a, b in zip(first, second, strict=True))


def changed_form(first: Sequence[Any], later: Sequence[Any], batch: int) -> str:
    """Return why batches of two forms, as in the state of a kind, cannot be stored together."""
    return f"{_words(first)} in the first batches and {_words(later)} in batch {batch}"


def _form(value: Value) -> tuple[Any, ...]:
    """Return what all batches of a tensor must share to be stored together."""
    if isinstance(value, Ragged):
        return ("ragged", len(value.row_splits), value.values.shape[1:])
    if isinstance(value, Sparse):
        return ("sparse", value.indices.shape[1], len(value.dense_shape), value.values.shape[1:])
    return ("dense",)


def _words(form: Sequence[Any]) -> str:
    """Return a form in words."""
    kind, *sizes = form
    inner = f", values of shape {tuple(sizes[-1])}" if sizes and sizes[-1] else ""
    if kind == "ragged":
        return f"ragged ({sizes[0]} ragged ax{'i' if sizes[0] == 1 else 'e'}s{inner})"
    return f"sparse (rank {sizes[1]}, {sizes[0]} located{inner})" if kind == "sparse" else str(kind)
