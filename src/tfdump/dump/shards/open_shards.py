"""The files of a folder of shards, opened when they are read, and few of them at once."""

import os
from collections import OrderedDict
from pathlib import Path

import h5py

from tfdump.dump.parts import Part
from tfdump.dump.shards.manifest import MANIFEST, Manifest
from tfdump.dump.shards.shard_file import check_shard, open_shard, range_of_name, shard_name
from tfdump.errors import DumpError
from tfdump.files.hdf5 import damage, has_link, lookup
from tfdump.files.paths import exists
from tfdump.process.machine import open_files

MOST_OPEN = 16
"""Files that are open at once. Each takes some megabytes, and a reader that goes from one to the next needs one."""

_RESERVED = 24
"""Files that the process may need besides the shards."""

_MOST_NAMED = 3

Stamp = tuple[int, int, int]
"""Which file has a name, its size, and the time of its last change."""


class OpenShards:
    """The shards of a folder by their numbers, from 0; a file is opened when it is first needed, `most_open` at once,
    each with a `cache` of so many bytes for chunks.

    Raises DumpError where a shard is missing: the message says which, and how to make it.
    """

    def __init__(self, folder: Path, manifest: Manifest, most_open: int = MOST_OPEN, cache: int | None = None) -> None:
        self.folder = folder
        self.manifest = manifest
        self.paths = [folder / shard_name(*bounds) for bounds in manifest.ranges]
        self._open: OrderedDict[int, h5py.File] = OrderedDict()
        self._parts: dict[int, dict[str, Part]] = {}
        self._cache = cache
        self._stamps: dict[int, Stamp | None] = {}
        self._sizes: dict[int, tuple[int, ...]] = {}
        self._most = max(1, min(most_open, open_files() - _RESERVED))
        self._refuse_others()
        self._refuse_gaps()

    def _refuse_others(self) -> None:
        """Raise DumpError for the shards of another division of the examples."""
        names = {path.name for path in self.paths}
        shards = [path.name for path in self.folder.iterdir() if range_of_name(path.name)]
        others = sorted(name for name in shards if name not in names)
        if others:
            raise DumpError(
                f"{self.folder / others[0]} overlaps the shards of {MANIFEST}, which divides the examples otherwise "
                "(move it away)"
            )

    def _refuse_gaps(self) -> None:
        missing = [number for number, path in enumerate(self.paths) if not exists(path)]
        if not missing:
            return
        ranges = self.manifest.ranges
        named = [
            f"{self.paths[number].name} (examples {ranges[number][0]} to {ranges[number][1] - 1})"
            for number in missing[:_MOST_NAMED]
        ]
        more = f" and {len(missing) - len(named)} more" if len(missing) > len(named) else ""
        raise DumpError(
            f"{self.folder} lacks {len(missing)} of {len(ranges)} shards: {', '.join(named)}{more} "
            f"(run the command that made the others again, or with --shard {missing[0] + 1}/{len(ranges)})"
        )

    def batch_sizes(self, number: int) -> tuple[int, ...]:
        """Return the numbers of examples of the batches of a shard."""
        if number not in self._sizes:
            (start, stop), size = self.manifest.ranges[number], self.manifest.batch_size
            self._sizes[number] = tuple(min(size, stop - begin) for begin in range(start, stop, size))
        return self._sizes[number]

    def file(self, number: int) -> h5py.File:
        """Return a shard, open for reading; it may be closed when others are asked for."""
        if number in self._open:
            self._open.move_to_end(number)
            return self._open[number]
        while len(self._open) >= self._most:
            self._close(next(iter(self._open)))
        path = self.paths[number]
        file = open_shard(path, self._cache)
        try:
            stamp = _stamp(path)
            if number not in self._stamps:
                check_shard(file, self.manifest, self.manifest.ranges[number])
                self._stamps[number] = stamp
            if self._stamps[number] != stamp:
                raise _changed(path)
        except BaseException:
            file.close()
            raise
        self._open[number], self._parts[number] = file, {}
        return file

    def has(self, number: int, path: str) -> bool:
        """Tell whether a shard has something under a path."""
        here: h5py.Group = self.file(number)
        with damage(DumpError, f"{self.paths[number]}: '{path}'"):
            for name in path.split("/"):
                if not isinstance(here, h5py.Group) or not has_link(here, name):
                    return False
                here = lookup(here, name, DumpError)
        return True

    def item(self, number: int, path: str) -> h5py.Group | h5py.Dataset:
        """Return what a shard has under a path."""
        return lookup(self.file(number), path, DumpError)

    def part(self, number: int, path: str) -> Part:
        """Return an array of a shard."""
        file = self.file(number)
        parts = self._parts[number]
        if path not in parts:
            dataset = lookup(file, path, DumpError)
            if not isinstance(dataset, h5py.Dataset):
                raise DumpError(f"{self.paths[number]}: '{path}' is damaged: it is not a dataset")
            parts[path] = Part("", dataset)
        return parts[path]

    def check_unchanged(self) -> None:
        """Raise DumpError if a shard that was read has been replaced or written to since."""
        for number, stamp in self._stamps.items():
            if _stamp(self.paths[number]) != stamp:
                raise _changed(self.paths[number])

    def _close(self, number: int) -> None:
        del self._parts[number]
        self._open.pop(number).close()

    def close(self) -> None:
        """Close all files."""
        for number in list(self._open):
            self._close(number)


def _stamp(path: Path) -> Stamp | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns


def _changed(path: Path) -> DumpError:
    return DumpError(f"{path} was changed while it was being read (try again when it is complete)")
