"""Targets that are names of classes: text becomes the places of the names in sorted order."""

from collections.abc import Sequence

import numpy as np

from tfdump.errors import InputError
from tfdump.files.byte_strings import decoded_text
from tfdump.inputs.identity import ClassLabels, NamedReader, remarks_of, row_names
from tfdump.inputs.readers import Reader
from tfdump.tensors import Array

_AT_ONCE = 1 << 14
_MOST_NAMES = 10


class ClassTargets(NamedReader):
    """Names of classes, shape (rows,) or (rows, 1), as class indices of the same shape.

    The classes are numbered in the sorted order of their names, as `keras.utils.image_dataset_from_directory` and
    `pandas.Categorical` number them. Raises InputError for an array of another shape.
    """

    dtype = np.dtype(np.int64)

    def __init__(self, texts: Reader) -> None:
        self._texts = texts
        self.label, self.shape = texts.label, texts.shape
        if not self.shape or any(size != 1 for size in self.shape[1:]):
            raise InputError(f"{self.label} has shape {self.shape}, and names of classes are one per example")
        self.names = row_names(texts, texts.label)
        order: dict[str, int] = {}
        values = np.empty(self.shape[0], np.int64)
        for start in range(0, len(values), _AT_ONCE):
            rows = texts.read(start, min(start + _AT_ONCE, len(values))).reshape(-1)
            values[start : start + len(rows)] = [order.setdefault(decoded_text(row), len(order)) for row in rows]
        classes = tuple(sorted(order))
        place_of = np.empty(len(order), np.int64)
        place_of[[order[name] for name in classes]] = np.arange(len(order))
        self.labels: ClassLabels = ClassLabels(place_of[values], classes)
        self._values = self.labels.values.reshape(self.shape)

    def read(self, start: int, stop: int) -> Array:
        """Return the class indices of the rows from `start` up to `stop`."""
        return self._values[start:stop]

    def remarks(self, start: int, stop: int) -> Sequence[str]:
        """Return the notes about the names in these rows, and one that tells the index of each class."""
        classes = self.labels.classes
        shown = ", ".join(f"'{name}' is {place}" for place, name in enumerate(classes[:_MOST_NAMES]))
        more = f" and {len(classes) - _MOST_NAMES:,} more" if len(classes) > _MOST_NAMES else ""
        about = f"{self.label} holds names of classes, which become class indices: {shown}{more}"
        return [*remarks_of(self._texts, start, stop), about]
