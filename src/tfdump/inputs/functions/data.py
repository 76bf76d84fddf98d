"""Data that a function of the user returns or yields, as arrays for the inputs and outputs of a model."""

import inspect
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from tfdump.errors import InputError
from tfdump.inputs.data_options import DataOptions
from tfdump.inputs.functions.columns import (
    INPUTS,
    TARGETS,
    WEIGHTS,
    ColumnKey,
    Columns,
    columns_of,
    is_unbatched,
    rows_in,
    with_example_axis,
)
from tfdump.inputs.functions.on_demand import BatchesByNumber, RowsByRange
from tfdump.inputs.functions.spool import Spool
from tfdump.inputs.functions.user_file import errors_of_user, load_function, split_function, without_folder
from tfdump.inputs.identity import NamedReader
from tfdump.inputs.input_array import InputArray
from tfdump.tensors import Array, InputSpec

_ENDLESS = -1
"""The cardinality of a `tf.data.Dataset` that never ends."""

_WHAT_TO_GIVE = "return arrays, a tf.data.Dataset or a keras.utils.PyDataset, or yield batches"


class _Rows(Protocol):
    """Rows that can be read in any order; `first` is a batch with their shapes and dtypes."""

    count: int
    first: Columns

    def read(self, key: ColumnKey, start: int, stop: int) -> Array:
        """Return rows of one column."""


class _InMemory:
    """Arrays that the user returned as a whole."""

    def __init__(self, columns: Columns, label: str) -> None:
        self.first = columns
        self.count = rows_in(columns, label)

    def read(self, key: ColumnKey, start: int, stop: int) -> Array:
        """Return rows of one column."""
        return self.first[key][start:stop]


class ColumnRows(NamedReader):
    """One array of the data of the user."""

    def __init__(self, rows: _Rows, key: ColumnKey, label: str, name: str | None) -> None:
        self.label = label
        self.shape = (rows.count, *rows.first[key].shape[1:])
        self.dtype = rows.first[key].dtype
        self.settings = {} if name is None else {"function": name}
        self.only_in_order = isinstance(rows, Spool)
        self._rows, self._key = rows, key

    def read(self, start: int, stop: int) -> Array:
        """Return the rows from `start` up to `stop`."""
        return self._rows.read(self._key, start, stop)


class UserData:
    """What a function of the user gives, read when the inputs of the model are known.

    `function` is called once, at the first use. `most` bounds what is read in order. With a `name`, dumps record it.
    """

    def __init__(self, function: Callable[..., Any], label: str, most: int | None, name: str | None = None) -> None:
        self.label = label
        self._function = function
        self._most = most
        self._name = name
        self._value: Any = None
        self._keys: list[ColumnKey] | None = None
        self._rows: _Rows | None = None

    def names(self) -> list[str | None]:
        """Return the names of the inputs that the data has, None for those without a name."""
        return [key.input_name for key in self._all_keys() if key.role == INPUTS]

    def arrays(self, specs: Sequence[InputSpec]) -> list[InputArray]:
        """Return the arrays for these inputs; raises InputError where the code fails, or its data is of no use."""
        if self._rows is None:
            self._all_keys()
            self._rows = self._opened(specs)
        return self._arrays(INPUTS)

    def targets(self) -> list[InputArray]:
        """Return the targets that the data has."""
        return self._arrays(TARGETS)

    def sample_weights(self) -> list[InputArray]:
        """Return the sample weights that the data has."""
        return self._arrays(WEIGHTS)

    def _arrays(self, role: str) -> list[InputArray]:
        keys = [key for key in self._all_keys() if key.role == role]

        def opener(key: ColumnKey) -> Callable[[], ColumnRows]:
            label = self.label if len(self._all_keys()) == 1 else f"{self.label}::{key.words}"

            def opened() -> ColumnRows:
                if self._rows is None:
                    self.arrays([])
                assert self._rows is not None
                return ColumnRows(self._rows, key, label, self._name)

            return opened

        return [InputArray(key.input_name, opener(key), self.label) for key in keys]

    def _all_keys(self) -> list[ColumnKey]:
        """Return which arrays the data has, from its first batch."""
        if self._keys is None:
            self._value = self._called()
            self._keys = list(columns_of(self._first_item(), self.label))
        return self._keys

    def _called(self) -> Any:
        """Return what the function returns, and the function itself where it takes a range of rows."""
        if _takes_range(self._function):
            return self._function
        with errors_of_user(self.label):
            value = self._function()
        if value is None:
            raise InputError(f"{self.label} returns None ({_WHAT_TO_GIVE})")
        if not _is_batches_by_number(value) and _is_iterable_of_batches(value):
            if _cardinality(value) == _ENDLESS and self._most is None:
                raise InputError(f"{self.label} has no end (bound it: --examples 0:1000)")
            with errors_of_user(self.label):
                return iter(value)
        return value

    def _first_item(self) -> Any:
        """Return the first batch; one that was read in order stays the first one."""
        with errors_of_user(self.label):
            if _takes_range(self._value):
                return self._value(0, 1)
            if _is_batches_by_number(self._value):
                return self._value[0]
        if not isinstance(self._value, Iterator):
            return self._value
        items = _guarded(self._value, self.label)
        first = next(items, None)
        if first is None:
            raise InputError(f"{self.label} gives no batches ({_WHAT_TO_GIVE})")
        self._value = itertools.chain([first], items)
        return first

    def _opened(self, specs: Sequence[InputSpec]) -> _Rows:
        value, self._value = self._value, None
        if _takes_range(value):
            return RowsByRange(value, self._most, self.label)
        if _is_batches_by_number(value):
            return BatchesByNumber(value, self._most, specs, self.label)
        if isinstance(value, Iterator):
            return Spool(self._batches(value, specs), self._most, self.label)
        return _InMemory(columns_of(value, self.label), self.label)

    def _batches(self, items: Iterable[Any], specs: Sequence[InputSpec]) -> Iterator[Columns]:
        """Yield the arrays of every batch that has rows; examples without a batch axis become batches of one."""
        unbatched: bool | None = None
        for item in items:
            columns = columns_of(item, self.label)
            if unbatched is None:
                unbatched = is_unbatched(columns, specs)
            if unbatched:
                columns = with_example_axis(columns)
            if rows_in(columns, self.label):
                yield columns


def data_of_function(options: DataOptions) -> UserData:
    """Return the data of `--data`; raises InputError where the file that is named does not exist."""
    function, most = options.function, options.most_examples
    if callable(function):
        name = str(getattr(function, "__name__", type(function).__name__))
        return UserData(function, name, most, name)
    text = str(function)
    split_function(text, "--data")
    late = _Late(text)
    return UserData(late, text, most, without_folder(text))


class _Late:
    """A function in a file, which is run at the first use."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._function: Callable[..., Any] | None = None

    @property
    def function(self) -> Callable[..., Any]:
        """The function."""
        if self._function is None:
            self._function = load_function(self._text, "--data")
        return self._function

    def __call__(self, *arguments: Any) -> Any:
        return self.function(*arguments)


def _takes_range(function: Any) -> bool:
    """Tell whether a value is a function of `(start, stop)`."""
    if isinstance(function, _Late):
        function = function.function
    if not callable(function) or hasattr(function, "shape"):
        return False
    try:
        return list(inspect.signature(function).parameters)[:2] == ["start", "stop"]
    except (TypeError, ValueError):  # some callables of C have no signature
        return False


def is_batched_data(value: Any) -> bool:
    """Tell whether a value is a `tf.data.Dataset` or a `keras.utils.PyDataset`, without importing either."""
    return hasattr(value, "element_spec") or _is_batches_by_number(value)


def _is_batches_by_number(value: Any) -> bool:
    return any(base.__name__ == "PyDataset" and base.__module__.startswith("keras.") for base in type(value).__mro__)


def _is_iterable_of_batches(value: Any) -> bool:
    """Tell whether a value gives batches one after the other, and is no array, dict or tuple of arrays."""
    if isinstance(value, list):
        return bool(value) and (isinstance(value[0], (tuple, Mapping)) or hasattr(value[0], "shape"))
    if isinstance(value, (tuple, Mapping, str, bytes)) or hasattr(value, "__array__"):
        return False
    return isinstance(value, Iterable)


def _cardinality(value: Any) -> int | None:
    """Return the number of batches of a `tf.data.Dataset` as it knows it, None for anything else."""
    if not hasattr(value, "element_spec") or not hasattr(value, "cardinality"):
        return None
    return int(value.cardinality())


def _guarded(items: Iterator[Any], label: str) -> Iterator[Any]:
    """Yield what an iterator of the user yields; its errors are InputErrors."""
    while True:
        with errors_of_user(label):
            try:
                item = next(items)
            except StopIteration:
                return
        yield item
