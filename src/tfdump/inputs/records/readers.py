"""Features of records as the rows of arrays."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tfdump.errors import InputError
from tfdump.files.limits import allowed_bytes, check_bytes
from tfdump.inputs.identity import NamedReader
from tfdump.inputs.ragged import RaggedReader
from tfdump.inputs.records.feature_plan import FeatureError, FeaturePlan
from tfdump.inputs.records.record_set import Examples, RecordSet
from tfdump.tensors import Array


@dataclass(frozen=True)
class RecordNames:
    """The names of records: `train.tfrecord:17`."""

    records: RecordSet

    def read(self, start: int, stop: int) -> list[str]:
        """Return the names of the records from `start` up to `stop`."""
        return self.records.read_names(start, stop)


class RecordRows(NamedReader):
    """What all rows of records share: their names, what was left out, and how they became numbers."""

    def take(self, records: RecordSet, settings: Mapping[str, Any], notes: Sequence[str]) -> None:
        """Set what the rows share; `notes` are what a user should know of the files."""
        self.names = RecordNames(records)
        self.skipped: Sequence[tuple[str, str]] = records.skipped
        self.settings = settings
        self._notes = notes
        self._records = records

    def remarks(self, start: int, stop: int) -> Sequence[str]:
        """Return what the user should know of the files."""
        return self._notes


def _settings(plan: FeaturePlan) -> dict[str, Any]:
    return {
        "feature": plan.name,
        "shape": list(plan.shape),
        "decode": f"raw {plan.dtype}" if plan.raw else None,
    }


def feature_values(records: RecordSet, plan: FeaturePlan, examples: Examples, start: int) -> list[Array]:
    """Return the values of a feature in examples, of which `start` is the first row.

    Raises InputError where one does not fit.
    """
    rows = []
    for row, example in enumerate(examples, start):
        try:
            rows.append(plan.values(example.get(plan.name)))
        except FeatureError as cause:
            raise InputError(f"{records.place(row)} {cause}") from None
    return rows


class FixedFeature(RecordRows):
    """A feature of one shape, shape (records, *shape)."""

    def __init__(self, records: RecordSet, plan: FeaturePlan, notes: Sequence[str] = ()) -> None:
        self.label = f"{records.label}::{plan.name}"
        self.dtype: np.dtype[Any] = plan.dtype
        self._row_shape = tuple(size or 0 for size in plan.shape)
        self.shape = (len(records), *self._row_shape)
        self._plan = plan
        self.take(records, _settings(plan), notes)

    def read(self, start: int, stop: int) -> Array:
        """Return the rows from `start` up to `stop`; raises InputError for a record that lacks the feature."""
        size = (stop - start) * math.prod(self._row_shape) * self.dtype.itemsize
        check_bytes(size, allowed_bytes(), f"{self.label}: one batch of rows takes", InputError)
        rows = np.empty((stop - start, *self._row_shape), self.dtype)
        for place, values in enumerate(
            feature_values(self._records, self._plan, self._records.read(start, stop), start)
        ):
            rows[place] = values
        return rows


class RaggedFeature(RaggedReader, RecordRows):
    """A feature whose rows have different lengths; one pass over all records finds them."""

    def __init__(self, records: RecordSet, plan: FeaturePlan, notes: Sequence[str] = ()) -> None:
        lengths: npt.NDArray[np.int64] = np.empty(len(records), np.int64)
        for start, examples in records.each_block():
            rows = feature_values(records, plan, examples, start)
            lengths[start : start + len(rows)] = [len(row) for row in rows]
        super().__init__(f"{records.label}::{plan.name}", lengths, plan.tail, plan.dtype)
        self._plan = plan
        self.take(records, _settings(plan), notes)

    def rows(self, start: int, stop: int) -> list[Array]:
        """Return the rows from `start` up to `stop`, each of its own length."""
        return feature_values(self._records, self._plan, self._records.read(start, stop), start)


def feature_reader(records: RecordSet, plan: FeaturePlan, notes: Sequence[str] = ()) -> FixedFeature | RaggedFeature:
    """Return the rows of a feature; `notes` are what a user should know of the files."""
    ragged = bool(plan.shape) and plan.shape[0] is None
    return RaggedFeature(records, plan, notes) if ragged else FixedFeature(records, plan, notes)
