"""Who the examples of a dump are: the names and labels in its group `/examples`, read a few at a time."""

import h5py
import numpy as np
import numpy.typing as npt

from tfdump.dump import layout
from tfdump.dump.parts import Part
from tfdump.errors import DumpError, near
from tfdump.files.byte_strings import decoded_text
from tfdump.files.hdf5 import damage, has_link, lookup
from tfdump.files.paths import as_argument

_BLOCK = 1 << 12
"""Names that are in memory at once."""

_MOST_CLASSES = 20

_MOST_NEAR = 10_000
"""Names among which near ones are looked for."""

_CONTROLS = {number: f"\\x{number:02x}" for number in (*range(32), *range(127, 160))}


class StoredExamples:
    """The names of the examples of a dump, in the order of the rows of its tensors.

    `len(examples)` is how many there are.

    Attributes
    ----------
    labels : numpy.ndarray or None
        Class of each example as a number, shape `(examples,)`, int64. None if the data had no classes.
    classes : tuple of str
        Names of the classes; `classes[label]` is the class of an example. Empty if the classes have no names.
    part, class_part : Part
        The arrays of the names of examples and of classes in the file; `class_part` is None if there is none.
    """

    def __init__(
        self, name: str, examples: int, ids: Part | None, labels: Part | None = None, classes: Part | None = None
    ) -> None:
        self._name = name
        self._block: tuple[int, list[str]] = -1, []
        with damage(DumpError, f"{name}: '{layout.EXAMPLES}'"):
            if ids is None or not ids.is_text or ids.shape != (examples,):
                raise ValueError(f"it does not hold the names of {examples} examples")
            if labels is not None and (labels.shape != (examples,) or labels.dtype.kind not in "iu"):
                raise ValueError(f"it does not hold the classes of {examples} examples as whole numbers")
            if classes is not None and (not classes.is_text or len(classes.shape) != 1):
                raise ValueError("it does not hold the names of classes as a list of text")
        self.part, self.class_part = ids, classes
        self.labels: npt.NDArray[np.int64] | None = None if labels is None else np.asarray(labels.read(), np.int64)
        self.classes: tuple[str, ...] = () if classes is None else tuple(map(decoded_text, classes.read()))

    def __len__(self) -> int:
        """Return the number of examples."""
        return self.part.shape[0]

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
        return [decoded_text(item) for item in self.part.read((slice(start, stop),))]

    def name(self, row: int) -> str:
        """Return the name of the example in one row.

        Parameters
        ----------
        row : int
            Row of the tensors, from 0.

        Returns
        -------
        str
            The name. Some names around it are stored, for those who ask for one row after another.

        Raises
        ------
        DumpError
            If the file is damaged.
        """
        block, place = divmod(row, _BLOCK)
        if self._block[0] != block:
            self._block = block, self.read(block * _BLOCK, (block + 1) * _BLOCK)
        return self._block[1][place]

    def row(self, name: str) -> int:
        """Return the row of the example with a name, or of the only one whose name ends in `name` after a `/`.

        Parameters
        ----------
        name : str
            The name, or its end: `12.jpg` for `photos/cat/12.jpg`.

        Returns
        -------
        int
            The row, from 0; the first one if several examples have this name.

        Raises
        ------
        DumpError
            If no name matches, or if more than one ends like this.
        """
        ends: list[tuple[int, str]] = []
        for start in range(0, len(self), _BLOCK):
            for place, known in enumerate(self.read(start, start + _BLOCK), start):
                if known == name:
                    return place
                if name and known.endswith(f"/{name}"):
                    ends.append((place, known))
        if len(ends) > 1:
            raise DumpError(
                f"{self._name} has {len(ends):,} examples that end in '{name}': '{ends[0][1]}', '{ends[1][1]}'"
                f"{', ...' if len(ends) > 2 else ''} (write out one of them)"
            )
        if not ends:
            close = near(name, self.read(0, _MOST_NEAR))
            listing = f"tfdump cat {as_argument(self._name)} {layout.EXAMPLES}/{layout.EXAMPLE_ID} --format csv"
            raise DumpError(f"{self._name} has no example '{name}'{close} (list them: {listing})")
        return ends[0][0]

    @property
    def class_counts(self) -> list[tuple[int, str | None, int]]:
        """The classes in the order of their numbers: number, name, and how many examples each has."""
        if self.labels is None:
            return []
        numbers, counts = np.unique(self.labels, return_counts=True)
        by_number = dict.fromkeys(range(len(self.classes)), 0)
        by_number |= dict(zip(numbers.tolist(), counts.tolist(), strict=True))
        return [
            (number, self.classes[number] if 0 <= number < len(self.classes) else None, by_number[number])
            for number in sorted(by_number)
        ]


def described(examples: StoredExamples | None) -> dict[str, str]:
    """Return who the examples are in words, as rows of a table of facts; none where they have no names."""
    if examples is None:
        return {}
    ends = [one_line(examples.name(row)) for row in sorted({0, len(examples) - 1}) if 0 <= row < len(examples)]
    facts = {"example_ids": f"{len(examples):,}: {' .. '.join(ends)}" if ends else "0"}
    counts = [f"{number if name is None else one_line(name)} ({of:,})" for number, name, of in examples.class_counts]
    if counts:
        more = f", ... {counts[-1]}" if len(counts) > _MOST_CLASSES else ""
        facts["example_classes"] = f"{len(counts):,}: {', '.join(counts[:_MOST_CLASSES])}{more}"
    return facts


def one_line(name: str) -> str:
    """Return a name with the characters escaped that would end or hide a line of text."""
    return name.translate(_CONTROLS)


def example_text(number: int, name: str | None) -> str:
    """Return an example as messages call it: `example 17 (photos/cat/12.jpg)`, or by its number alone."""
    return f"example {number}" + (f" ({one_line(name)})" if name is not None else "")


def example_aside(number: int, name: str | None) -> str:
    """Return an example as messages call it in parentheses: `(example 17, photos/cat/12.jpg)`."""
    return f"(example {number}" + (f", {one_line(name)})" if name is not None else ")")


def stored_examples(file: h5py.File, name: str, examples: int) -> StoredExamples | None:
    """Return who the examples are, None for a dump that does not tell; raises DumpError if it is damaged."""
    if not has_link(file, layout.EXAMPLES):
        return None
    with damage(DumpError, f"{name}: '{layout.EXAMPLES}'"):
        parts = [_part(file, part) for part in (layout.EXAMPLE_ID, layout.EXAMPLE_LABEL, layout.EXAMPLE_CLASSES)]
    return StoredExamples(name, examples, *parts)


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
