"""Who the examples of a dump are: the names and labels in its group `/examples`, read a few at a time."""

import h5py
import numpy as np
import numpy.typing as npt

from tfdump.dump import layout
from tfdump.dump.parts import Part
from tfdump.errors import DumpError
from tfdump.files.byte_strings import decoded_text
from tfdump.files.hdf5 import damage, has_link, lookup


class StoredExamples:
    """The names of the examples of a dump, in the order of the rows of its tensors.

    Attributes
    ----------
    labels : numpy.ndarray or None
        Class of each example as a number, shape `(examples,)`, int64. None if the data had no classes.
    classes : tuple of str
        Names of the classes; `classes[label]` is the class of an example. Empty if the classes have no names.
    """

    def __init__(self, file: h5py.File, name: str, examples: int) -> None:
        self._name = name
        with damage(DumpError, f"{name}: '{layout.EXAMPLES}'"):
            self._ids = _part(file, layout.EXAMPLE_ID)
            if self._ids is None or not self._ids.is_text or self._ids.shape != (examples,):
                raise ValueError(f"it does not hold the names of {examples} examples")
            labels, classes = _part(file, layout.EXAMPLE_LABEL), _part(file, layout.EXAMPLE_CLASSES)
            if labels is not None and (labels.shape != (examples,) or labels.dtype.kind not in "iu"):
                raise ValueError(f"it does not hold the classes of {examples} examples as whole numbers")
        self.labels: npt.NDArray[np.int64] | None = None if labels is None else np.asarray(labels.read(), np.int64)
        self.classes: tuple[str, ...] = () if classes is None else tuple(map(decoded_text, classes.read()))

    def __len__(self) -> int:
        """Return the number of examples."""
        return 0 if self._ids is None else self._ids.shape[0]

    def read(self, start: int, stop: int) -> list[str]:
        """Return the names of the examples from `start` up to `stop`.

        Parameters
        ----------
        start, stop : int
            Rows of the tensors, from 0.

        Returns
        -------
        list of str
            The names. Bytes that are not UTF-8 are escaped.

        Raises
        ------
        DumpError
            If the file is damaged.
        """
        assert self._ids is not None
        return [decoded_text(item) for item in self._ids.read((slice(start, stop),))]

    def name(self, row: int) -> str:
        """Return the name of the example in one row; raises DumpError if the file is damaged."""
        return self.read(row, row + 1)[0]


def stored_examples(file: h5py.File, name: str, examples: int) -> StoredExamples | None:
    """Return who the examples are, None for a dump that does not tell; raises DumpError if it is damaged."""
    return StoredExamples(file, name, examples) if has_link(file, layout.EXAMPLES) else None


def _part(file: h5py.File, name: str) -> Part | None:
    group = lookup(file, layout.EXAMPLES, DumpError)
    if not isinstance(group, h5py.Group):
        raise ValueError("it is not a group")
    if not has_link(group, name):
        return None
    dataset = lookup(group, name, DumpError)
    if not isinstance(dataset, h5py.Dataset):
        raise ValueError(f"'{name}' is not a dataset")
    return Part("", dataset)
