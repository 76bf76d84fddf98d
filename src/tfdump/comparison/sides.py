"""The two sides of a comparison: a dump, or plain arrays from elsewhere (`.npy`, `.npz`, HDF5, or in memory)."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, Self

import h5py

from tfdump.argument_kinds import file_path
from tfdump.comparison.examples.side_examples import SideExamples, examples_of_dump, take_examples
from tfdump.comparison.plain_arrays import ArrayPart, Item, MemoryReader, PlainItem, plain_item
from tfdump.dump import layout
from tfdump.dump.other_formats import refuse_models
from tfdump.dump.parts import Part
from tfdump.dump.reader import Dump, open_dump
from tfdump.dump.shards.manifest import is_shard_folder
from tfdump.errors import DumpError
from tfdump.files.hdf5 import damage, lookup, open_hdf5
from tfdump.files.hdf5_text import text_memory


class Closeable(Protocol):
    """An open file."""

    def close(self) -> None:
        """Close it."""


class Side:
    """One side of a comparison: its items in order, its attributes, and whether it is plain; a context manager.

    `left_out` has the members of a plain HDF5 file that cannot be compared, each with the reason. `examples` tells who
    the examples are, and is None if they have no names.
    """

    def __init__(
        self,
        name: str,
        items: Sequence[Item],
        dump: Dump | None = None,
        path: Path | None = None,
        files: Sequence[Closeable] = (),
        left_out: Sequence[str] = (),
    ) -> None:
        self.name = name
        self.items = items
        self.attributes: dict[str, Any] = dump.attributes if dump is not None else {}
        self.is_plain = dump is None
        self.examples: SideExamples | None = examples_of_dump(dump)
        self.left_out = left_out
        self._dump = dump
        self._path = path
        self._files = files
        self._state = self._look()

    def _look(self) -> tuple[int, ...] | None:
        if self._path is None:
            return None
        try:
            status = self._path.stat()
        except OSError:
            return ()
        return (status.st_ino, status.st_size, status.st_mtime_ns)

    def check_unchanged(self) -> None:
        """Raise DumpError if the file was changed or replaced since it was opened."""
        if self._look() != self._state:
            raise DumpError(f"{self.name} changed while it was being read (compare it again when it is complete)")
        if self._path is not None and self._dump is not None:
            self._dump.check_unchanged()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for file in self._files:
            file.close()


def open_side(source: "str | Path | Dump | Mapping[str, Any]") -> Side:
    """Open a dump, or plain arrays by their names; the array of a `.npy` file has the name of the file.

    Raises DumpError or InputError if nothing can be read, or if there is nothing.
    """
    side = _open(source)
    if not side.items:
        with side:
            raise DumpError(f"{side.name} holds no tensors, so there is nothing to compare")
    return side


def _open(source: "str | Path | Dump | Mapping[str, Any]") -> Side:
    if isinstance(source, Dump):
        return Side(source.name, _items_of(source), source)
    if isinstance(source, Mapping):
        return Side("the arrays", [plain_item(str(name), value) for name, value in source.items()])
    path = file_path("dump", source, "give one, or arrays by name: {'conv1': array}")
    if is_shard_folder(path):
        joined = open_dump(path)
        return Side(str(path), _items_of(joined), joined, path, [joined])
    refuse_models(path)
    if path.suffix in (".npy", ".npz"):
        from tfdump.inputs.readers import open_npy, open_npz

        if path.suffix == ".npy":
            members = {path.stem: open_npy(path)}
        else:
            members = {name: opened() for name, opened in open_npz(path).items()}
        files = list(members.values())
        examples = take_examples(members)
        items = [PlainItem(name, [ArrayPart("", member)]) for name, member in members.items()]
        side = Side(str(path), items, path=path, files=files)
        side.examples = examples
        return side
    file = open_hdf5(path, DumpError)
    try:
        with damage(DumpError, str(path)), text_memory(file):
            is_dump = str(file.attrs.get("format")) == layout.FORMAT
        if is_dump:
            dump = Dump(file, str(path))
            return Side(str(path), _items_of(dump), dump, path, [file])
        left_out: list[str] = []
        with damage(DumpError, str(path)):
            items = list(_datasets(file, set(), left_out))
        return Side(str(path), items, path=path, files=[file], left_out=left_out)
    except BaseException:
        file.close()
        raise


def _items_of(dump: Dump) -> list[Item]:
    items: list[Item] = list(dump.tensors())
    loss = dump.loss
    if loss is not None:
        items.append(PlainItem(layout.LOSS, [ArrayPart("", MemoryReader(loss))]))
    return items


def _datasets(group: h5py.Group, above: set[int], left_out: list[str]) -> Iterator[PlainItem]:
    """Yield the datasets of numbers and text of a plain file, by their paths, without following links to elsewhere.

    `above` has the addresses of the groups above, so that a group that contains itself is skipped. Other members are
    added to `left_out`.
    """
    above = {*above, h5py.h5o.get_info(group.id).addr}
    for name in group:
        path = f"{group.name.rstrip('/')}/{name}".lstrip("/")
        if not isinstance(group.get(name, getlink=True), h5py.HardLink):
            left_out.append(f"{path} (a link)")
            continue
        item = lookup(group, name, DumpError)
        if isinstance(item, h5py.Group):
            if h5py.h5o.get_info(item.id).addr not in above:
                yield from _datasets(item, above, left_out)
        elif not isinstance(item, h5py.Dataset):
            left_out.append(f"{path} (a type)")
        elif item.shape is None:
            left_out.append(f"{path} (empty)")
        elif item.dtype.hasobject and h5py.check_string_dtype(item.dtype) is None:
            left_out.append(f"{path} (lists or references)")
        else:
            yield PlainItem(path, [Part("", item)])
