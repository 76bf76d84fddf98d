"""A dump file as a mapping from addresses to tensors."""

import json
from collections.abc import Iterator, Mapping
from functools import cached_property
from types import TracebackType
from typing import Any, Self

import h5py
import numpy as np
import numpy.typing as npt

from tfdump.argument_kinds import shown
from tfdump.dump import layout
from tfdump.dump.attributes import check_attributes_of
from tfdump.dump.axis0 import STEP
from tfdump.dump.checksums import Verified, verify
from tfdump.dump.examples import StoredExamples, stored_examples
from tfdump.dump.other_formats import kind_of_hdf5
from tfdump.dump.tensor import Tensor, plain
from tfdump.errors import DumpError, near
from tfdump.files.hdf5 import (
    attributes_of,
    check_declared,
    damage,
    damage_of,
    has_link,
    lookup,
    raised_by_hdf5,
    state_of_file,
)
from tfdump.files.paths import as_argument
from tfdump.tensors import NotCaptured


class Dump(Mapping[str, Tensor]):
    """A dump file as a mapping from addresses to tensors; a context manager that closes the file.

    `dump["encoder.dense"]` looks in the activations first, then in the other groups. `dump["outputs/logits"]` and
    `dump["gradients/inputs/image"]` name the group. Iteration runs over the first group in execution order, then over
    the other groups.

    Attributes
    ----------
    name : str
        Path of the file, as it was passed.
    attributes : dict
        Attributes of the root, such as `model`, `examples` and `tfdump_version`; see docs/format.md.
    groups : dict of str to list of str
        The addresses in each group of tensors, in execution order.

    Examples
    --------
    >>> with tfdump.open("dump.h5") as dump:
    ...     first_rows = dump["encoder.dense"][:4]
    ...     names = list(dump)
    """

    def __init__(self, file: h5py.File, name: str) -> None:
        self._file = file
        self._stamp = state_of_file(file)
        self.name = name
        with damage(DumpError, name):
            read = attributes_of(file, DumpError)
            self._check_format(read)
            self.attributes: dict[str, Any] = {key: plain(value) for key, value in read.items()}
            check_attributes_of(self.attributes)
        groups = {group: self._names(group) for group in layout.TENSOR_GROUPS} | self._optimizer_groups()
        self.groups: dict[str, list[str]] = {group: names for group, names in groups.items() if names is not None}

    def _names(self, path: str) -> list[str] | None:
        """Return the names in a group of tensors, or None if the file has no such group."""
        here = self._file
        with damage(DumpError, f"{self.name}: '{path}'"):
            for part in path.split("/"):
                if not has_link(here, part):
                    return None
                here = lookup(here, part, DumpError)
                if not isinstance(here, h5py.Group):
                    raise DumpError(f"{self.name}: '{here.name}' is damaged: it is not a group")
            return list(here)

    def _optimizer_groups(self) -> dict[str, list[str]]:
        """Return the names of the variables of an optimizer: its own ones, and those of each slot."""
        names = self._names(layout.OPTIMIZER) or []
        slots = [name for name in names if isinstance(self._file[layout.OPTIMIZER].get(name), h5py.Group)]
        own = [name for name in names if name not in slots]
        by_slot = {f"{layout.OPTIMIZER}/{slot}": self._names(f"{layout.OPTIMIZER}/{slot}") or [] for slot in slots}
        return ({layout.OPTIMIZER: own} if own else {}) | by_slot

    def _check_format(self, attributes: Mapping[str, Any]) -> None:
        if attributes.get("format") != layout.FORMAT:
            raise DumpError(f"{self.name} is an HDF5 file, but not a dump of tfdump: {kind_of_hdf5(self._file)}")
        version = attributes.get("format_version")
        if version != layout.FORMAT_VERSION:
            raise DumpError(
                f"{self.name} has format version {version}, and this tfdump reads {layout.FORMAT_VERSION} "
                "(upgrade it: pip install -U tfdump)"
            )

    @property
    def not_captured(self) -> tuple[NotCaptured, ...]:
        """The layers of the model that are not in the dump, with the reasons."""
        items = self._json_list(layout.NOT_CAPTURED)
        with damage(DumpError, f"{self.name}: {layout.NOT_CAPTURED}"):
            return tuple(NotCaptured(item["address"], item["reason"]) for item in items)

    @property
    def depends_on_batch(self) -> tuple[str, ...]:
        """The addresses of tensors whose values depend on which examples shared a batch."""
        return tuple(self._json_list(layout.DEPENDS_ON_BATCH))

    def _json_list(self, name: str) -> list[Any]:
        """Return a list that is stored as JSON in an attribute or, if it is long, in a dataset of the same name."""
        with damage(DumpError, f"{self.name}: {name}"):
            items = json.loads(self.attributes.get(name, "[]"))
            if isinstance(items, dict):
                items = json.loads(lookup(self._file, name, DumpError)[()])
            return list(items)

    @cached_property
    def examples(self) -> StoredExamples | None:
        """Who the examples are: their names, and their labels if the data had classes; None if they have no names.

        Examples
        --------
        >>> with tfdump.open("dump.h5") as dump:
        ...     names = dump.examples.read(0, len(dump.examples))
        """
        count = self.attributes.get("examples", 0)
        return stored_examples(self._file, self.name, int(count))

    @property
    def first_example(self) -> int:
        """The number in the input of the first example."""
        return int(self.attributes.get("first_example", 0))

    def example_id(self, number: int | None) -> str | None:
        """Return the name of the example with this number in the input; None if the dump does not tell."""
        row = -1 if number is None else number - self.first_example
        return None if self.examples is None or not 0 <= row < len(self.examples) else self.examples.name(row)

    @property
    def config(self) -> dict[str, Any] | None:
        """The architecture of the model as Keras saved it, or None."""
        if not has_link(self._file, layout.CONFIG):
            return None
        with damage(DumpError, f"{self.name}: '{layout.CONFIG}'"):
            dataset = lookup(self._file, layout.CONFIG, DumpError)
            check_declared(dataset, DumpError)
            config = json.loads(dataset[()])
            if not isinstance(config, dict):
                raise ValueError("it describes no model")
        return config

    @property
    def loss(self) -> npt.NDArray[np.float64] | None:
        """The loss of a dump of gradients: a scalar, or one number per step or example; None if there is no loss."""
        with damage(DumpError, f"{self.name}: '{layout.LOSS}'"):
            if not has_link(self._file, layout.LOSS):
                return None
            dataset = lookup(self._file, layout.LOSS, DumpError)
            if not isinstance(dataset, h5py.Dataset) or dataset.dtype.kind != "f" or dataset.ndim > 1:
                raise ValueError("it is not a number or a list of numbers")
            check_declared(dataset, DumpError)
            return np.asarray(dataset[()], np.float64)

    @property
    def loss_axis(self) -> str:
        """What the losses are counted along: `step`, `example`, or `none` for a single loss."""
        with damage(DumpError, f"{self.name}: '{layout.LOSS}'"):
            return str(plain(lookup(self._file, layout.LOSS, DumpError).attrs.get("axis0", STEP)))

    def __getitem__(self, address: str) -> Tensor:
        if not isinstance(address, str):
            raise DumpError(
                f"{shown(address)} is not an address (a tensor is dump['conv1'], a part of it dump['conv1'][:4])"
            )
        group, slash, name = address.rpartition("/")
        if slash and group in self.groups and name in self.groups[group]:
            return self._tensor(group, name)
        for group, names in self.groups.items():
            if address in names:
                return self._tensor(group, address)
        if address == layout.LOSS and has_link(self._file, layout.LOSS):
            remedy = f"print it: tfdump cat {as_argument(self.name)} loss"
            raise DumpError(f"{self.name} stores its loss apart from the tensors ({remedy})")
        known = [f"{group}/{name}" if slash else name for group, names in self.groups.items() for name in names]
        remedy = f"{near(address, known)} (list them: tfdump show {as_argument(self.name)})"
        raise DumpError(f"{self.name} has no tensor '{address}'{remedy}")

    def get(self, address: str, default: Any = None) -> Any:
        """Return the tensor of an address, or `default` if there is none."""
        return self[address] if address in self else default  # noqa: SIM401 - that would call this method

    def __contains__(self, address: object) -> bool:
        try:
            self[str(address)]
        except DumpError:
            return False
        return True

    def __iter__(self) -> Iterator[str]:
        for number, (group, names) in enumerate(self.groups.items()):
            for name in names:
                yield name if number == 0 else f"{group}/{name}"

    def __len__(self) -> int:
        return sum(len(names) for names in self.groups.values())

    def tensors(self) -> Iterator[Tensor]:
        """Yield every tensor, group by group, in the order of execution."""
        for group, names in self.groups.items():
            for name in names:
                yield self._tensor(group, name)

    @property
    def file_bytes(self) -> int:
        """The size of the file, or of all files of a folder of shards."""
        return int(self._file.id.get_filesize())

    def verify(self) -> Iterator[Verified]:
        """Read all values and yield the result of every checksum.

        Raises DumpError for a dump that was made without checksums.
        """
        return verify(self._file)

    def _tensor(self, group: str, name: str) -> Tensor:
        with damage(DumpError, f"{self.name}: '{group}/{name}'"):
            tensor = self._opened(group, lookup(self._file, f"{group}/{name}", DumpError))
            _ = tensor.shape, tensor.dtype, tensor.norm
            if tensor.address != name:
                raise ValueError(f"its attribute says that it is {tensor.address!r}")
            return tensor

    def _opened(self, group: str, item: h5py.Dataset | h5py.Group) -> Tensor:
        """Return the tensor that an object of the file is."""
        return Tensor(group, item)

    def check_unchanged(self) -> None:
        """Raise DumpError if the file was written to since it was opened: the values may belong to two states."""
        if self._stamp != state_of_file(self._file):
            raise DumpError(f"{self.name} was changed while it was being read (try again when it is complete)")

    def close(self) -> None:
        """Close the file. Tensors cannot be read afterwards."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self.check_unchanged()
            elif error is not None and raised_by_hdf5(error):
                raise DumpError(damage_of(self.name, error)) from error
        finally:
            self.close()
