"""A folder of shards as one dump, whose values are read from the shards."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import h5py

from tfdump.dump import layout
from tfdump.dump.checksums import Verified, verify
from tfdump.dump.dump_file import Dump
from tfdump.dump.examples import StoredExamples
from tfdump.dump.parts import Part
from tfdump.dump.shards.joined_arrays import JoinedPart
from tfdump.dump.shards.joined_records import JoinedRun, JoinedTensor
from tfdump.dump.shards.joined_run import join_shards
from tfdump.dump.shards.manifest import read_manifest
from tfdump.dump.shards.open_shards import OpenShards
from tfdump.dump.shards.outline import outline
from tfdump.dump.tensor import Tensor
from tfdump.tensors import Array


class JoinedDump(Dump):
    """A folder of shards as a mapping from addresses to tensors, as if one run had written one file."""

    def __init__(self, run: JoinedRun, name: str) -> None:
        self._run = run
        self._joined = {(tensor.group, tensor.info.address): tensor for tensor in (*run.tensors, *run.further)}
        super().__init__(outline(run), name)

    @cached_property
    def examples(self) -> StoredExamples | None:
        """Who the examples are; None if they have no names."""
        if (layout.EXAMPLES, layout.EXAMPLE_ID) not in self._joined:
            return None
        names = (layout.EXAMPLE_ID, layout.EXAMPLE_LABEL, layout.EXAMPLE_CLASSES)
        parts = [self._beside(name) if (layout.EXAMPLES, name) in self._joined else None for name in names]
        return StoredExamples(self.name, self._run.manifest.examples, *parts)

    def _beside(self, name: str) -> Part:
        joined = self._joined[layout.EXAMPLES, name]
        declared = self._file[f"{layout.EXAMPLES}/{name}"]
        return JoinedPart("", joined.form.arrays[""], self._run.shards, declared)

    def _opened(self, group: str, item: h5py.Dataset | h5py.Group) -> Tensor:
        address = str(item.attrs["address"])
        joined = self._joined.get((group, address))
        if joined is None:  # not connected with the loss, so without values
            return Tensor(group, item)
        return JoinedTensorValues(group, item, joined, self._run.shards)

    @property
    def file_bytes(self) -> int:
        """The size of all shards."""
        return sum(path.stat().st_size for path in self._run.shards.paths)

    def verify(self) -> Iterator[Verified]:
        """Read all shards and yield the result of every checksum; names begin with those of the shards.

        Raises DumpError for shards that were made without checksums.
        """
        shards = self._run.shards
        for number, path in enumerate(shards.paths):
            for verified in verify(shards.file(number)):
                yield replace(verified, name=f"{path.name}:{verified.name}")

    def check_unchanged(self) -> None:
        """Raise DumpError if a shard was replaced or written to since it was opened."""
        self._run.shards.check_unchanged()

    def close(self) -> None:
        """Close all files. Tensors cannot be read afterwards."""
        self._run.shards.close()
        super().close()


class JoinedTensorValues(Tensor):
    """A tensor whose attributes are in the outline of a run, and whose values are in its shards."""

    def __init__(self, group: str, item: h5py.Dataset | h5py.Group, joined: JoinedTensor, shards: OpenShards) -> None:
        super().__init__(group, item)
        self._arrays = joined.form.arrays
        self._shards = shards

    def parts(self) -> list[Part]:
        """Return the arrays that the tensor consists of, which are read in pieces."""
        self._require_values()
        declared: Mapping[str, Any] = {"": self._item} if "" in self._arrays else self._item
        return [JoinedPart(name, array, self._shards, declared[name]) for name, array in self._arrays.items()]

    def _array(self, key: Any) -> Array:
        return self.parts()[0].read(key)


def open_shards(folder: Path, name: str) -> JoinedDump:
    """Open a folder of shards for reading; raises DumpError where a shard is missing, damaged or of another run."""
    shards = OpenShards(folder, read_manifest(folder))
    try:
        return JoinedDump(join_shards(shards), name)
    except BaseException:
        shards.close()
        raise
