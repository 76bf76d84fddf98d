"""Arrays for the inputs of a model: each is opened when it is needed, and some only when the inputs are known."""

from collections.abc import Callable, Sequence
from copy import copy
from typing import Protocol, Self, runtime_checkable

from tfdump.inputs.readers import Reader
from tfdump.tensors import InputSpec

OpenReader = Callable[[], Reader]
"""Opens one array of a file. An array that is not needed is never opened, so it may be of any kind."""


class InputArray:
    """One array for the model, opened when it is needed; `name` is None where only its position counts.

    `optional_name` tells that the name is only the key of the array in its file, and may be no name of an input.
    """

    takes_one = False
    """Whether this is for the one input whose shape fits it, and leaves the others to what knows them by name."""

    def __init__(
        self, name: str | None, opened: Reader | OpenReader, label: str = "", optional_name: bool = False
    ) -> None:
        self.name = name
        self.kind = ""
        self.optional_name = optional_name
        self._opened = opened
        self.label = label or getattr(opened, "label", "")

    def renamed(self, name: str) -> "InputArray":
        """Return the same array under another name."""
        return InputArray(name, self._opened, self.label, self.optional_name)

    def without_name(self) -> "InputArray":
        """Return the same array without a name, so that only its position counts."""
        return InputArray(None, self._opened, self.label)

    def for_inputs(self, specs: Sequence[InputSpec]) -> "list[InputArray]":
        """Return the arrays for the inputs that have none yet: this one alone."""
        return [self]

    def targets(self) -> "list[InputArray]":
        """Return the targets that come with the array: none."""
        return []

    def sample_weights(self) -> "list[InputArray]":
        """Return the sample weights that come with the array: none."""
        return []

    @property
    def names(self) -> list[str | None]:
        """The names of the arrays, as far as they are known without the inputs of the model."""
        return [self.name]

    @property
    def reader(self) -> Reader:
        """The reader of the array, opened at the first use; raises InputError where the array cannot be read."""
        if callable(self._opened):
            self._opened = self._opened()
        return self._opened


class Collection(Protocol):
    """Data whose arrays follow from the inputs of the model: a folder of images, a table, records."""

    label: str

    def arrays(self, specs: Sequence[InputSpec]) -> list[InputArray]:
        """Return the arrays for these inputs, which have none yet; one with a name is for the input of that name."""

    def targets(self) -> list[InputArray]:
        """Return the targets that the data brings along, such as the class folders of images."""


@runtime_checkable
class NamedCollection(Collection, Protocol):
    """Data that knows the names of its arrays by itself, and may bring sample weights along too."""

    def names(self) -> list[str | None]:
        """Return the names of its arrays, None for those without a name."""

    def sample_weights(self) -> list[InputArray]:
        """Return the sample weights."""


class InputCollection(InputArray):
    """Arrays that are known only when the inputs of the model are; `name` is that of the only input, or None."""

    def __init__(self, name: str | None, collection: Collection) -> None:
        self.name = name
        self.optional_name = False
        self.label = collection.label
        self.kind = getattr(collection, "kind", "")  # what its options are about: images, sound, TFRecord files
        self.takes_one = getattr(collection, "takes_one", False)
        self._collection = collection

    def renamed(self, name: str) -> Self:
        """Return the same data for one input."""
        other = copy(self)
        other.name = name
        return other

    def without_name(self) -> Self:
        """Return the same data for any inputs."""
        other = copy(self)
        other.name = None
        return other

    def for_inputs(self, specs: Sequence[InputSpec]) -> list[InputArray]:
        """Return the arrays for these inputs."""
        return self._collection.arrays(specs)

    def targets(self) -> list[InputArray]:
        """Return the targets that the data brings along."""
        return self._collection.targets()

    def sample_weights(self) -> list[InputArray]:
        """Return the sample weights that the data brings along."""
        return self._collection.sample_weights() if isinstance(self._collection, NamedCollection) else []

    @property
    def names(self) -> list[str | None]:
        """The names of the arrays, as far as they are known without the inputs of the model."""
        if self.name is None and isinstance(self._collection, NamedCollection):
            return self._collection.names()
        return [self.name]

    @property
    def reader(self) -> Reader:
        """The only array, as it is without an input that says more of it."""
        (array,) = self.for_inputs([InputSpec(self.name or self.label, None, None)])
        return array.reader


def array_names_of(arrays: Sequence[InputArray]) -> list[str | None]:
    """Return the names of arrays, None for those without a name; those of a collection where it knows them."""
    return [name for array in arrays for name in array.names]


def arrays_for(arrays: Sequence[InputArray], specs: Sequence[InputSpec]) -> list[InputArray]:
    """Return the arrays for the inputs of a model, with those that follow from its inputs.

    Data for an input of a name that the model has not remains as it is. Images and sound find their input by its shape
    before tables and records take the others. Raises InputError where data does not fit.
    """
    known = {spec.name: spec for spec in specs}
    filled: set[str | None] = {item.name for item in arrays if item.name in known}
    fitting: dict[int, list[InputArray]] = {}
    for place, item in sorted(enumerate(arrays), key=lambda numbered: not numbered[1].takes_one):
        if not isinstance(item, InputCollection) or (item.name is not None and item.name not in known):
            fitting[place] = [item]
        elif item.name is not None:
            fitting[place] = [array.renamed(item.name) for array in item.for_inputs([known[item.name]])]
        else:
            fitting[place] = item.for_inputs([spec for spec in specs if spec.name not in filled])
            filled |= {array.name for array in fitting[place]}
    return [array for place in range(len(arrays)) for array in fitting[place]]
