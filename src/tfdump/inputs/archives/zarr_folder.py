"""Arrays in Zarr folders of versions 2 and 3. The only module that names zarr."""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tfdump.errors import InputError, near, reason_of
from tfdump.files.limits import allowed_bytes, check_bytes
from tfdump.inputs.archives.bands import Bands
from tfdump.inputs.input_array import OpenReader
from tfdump.tensors import Array

try:
    import zarr
except ImportError:
    raise InputError(".zarr folders need an extra: pip install 'tfdump[zarr]'") from None

_CODECS = frozenset(
    {
        *("blosc", "zlib", "gzip", "zstd", "lz4", "bz2", "lzma", "shuffle", "delta", "fixedscaleoffset", "quantize"),
        *("bitround", "packbits", "astype", "crc32", "crc32c", "adler32", "fletcher32", "vlen-utf8", "bytes"),
        *("transpose", "sharding_indexed"),
    }
)
"""What the bytes of a chunk may have been made by. The one called `pickle` would run code, and is not among them."""


class ZarrReader:
    """One array of a Zarr folder, read by slices; every chunk is decompressed once where rows are read in order."""

    def __init__(self, array: Any, label: str) -> None:
        self.label = label
        self._array = array
        self._check_codecs()
        self.shape: tuple[int, ...] = tuple(array.shape)
        stored = np.dtype(array.dtype)
        self.dtype: np.dtype[Any] = np.dtype(object) if stored.kind == "T" else stored
        row_bytes = stored.itemsize * math.prod(self.shape[1:])
        chunks = getattr(array, "shards", None) or array.chunks
        chunk_bytes = stored.itemsize * math.prod(chunks)
        check_bytes(chunk_bytes, allowed_bytes(), f"{label}: one chunk takes", InputError)
        rows = chunks[0] if chunks else 0
        self._bands = Bands(self._slice, self.shape[0] if self.shape else 1, rows, rows * row_bytes)

    def read(self, start: int, stop: int) -> Array:
        """Return the rows from `start` up to `stop`; raises InputError for a damaged chunk."""
        return self._bands.read(start, stop)

    def _slice(self, start: int, stop: int) -> Array:
        size = (stop - start) * self.dtype.itemsize * math.prod(self.shape[1:])
        check_bytes(size, allowed_bytes(), f"{self.label}: one batch of rows takes", InputError)
        try:
            rows = np.asarray(self._array[start:stop] if self.shape else np.atleast_1d(self._array[()]))
        except Exception as cause:  # a damaged chunk raises whatever its codec does
            raise InputError(f"cannot read {self.label}: {reason_of(cause)}") from cause
        return rows.astype(object) if rows.dtype.kind == "T" else rows

    def _check_codecs(self) -> None:
        for codec in _codecs(self._array.metadata.to_dict()):
            if codec not in _CODECS:
                raise InputError(f"{self.label} is stored with the codec '{codec}', which tfdump does not read")


def open_zarr(path: Path, member: str | None) -> tuple[dict[str, OpenReader], str | None]:
    """Return what opens the arrays of a Zarr folder, by name, and which of them the `member` is, None for all.

    The member may be a group inside the folder. Raises InputError where there is no such thing.
    """
    try:
        node = zarr.open(store=str(path), mode="r")
    except Exception as cause:  # damaged metadata raises errors of many classes
        raise InputError(f"{path} is no Zarr folder, or is damaged: {reason_of(cause)}") from cause
    inner = (member or "").strip("/")
    if isinstance(node, zarr.Group) and inner:
        node = _inside(node, path, inner)
    if not isinstance(node, zarr.Group):
        if inner and not node.path.endswith(inner):
            raise InputError(f"{path} is one array and has no '{inner}' inside (leave '::{inner}' out)")
        name = inner or path.stem
        return {name: lambda: ZarrReader(node, f"{path}::{inner}" if inner else str(path))}, name
    arrays = sorted(name for name, _ in node.arrays())
    if not arrays:
        raise InputError(f"{path} has no array{f' in {inner!r}' if inner else ''} (it has {_listed(node)})")

    def opener(name: str) -> OpenReader:
        return lambda: ZarrReader(node[name], f"{path}::{inner + '/' if inner else ''}{name}")

    return {name: opener(name) for name in arrays}, None


def _inside(group: Any, path: Path, inner: str) -> Any:
    try:
        return group[inner]
    except KeyError:
        names = [name for name, _ in group.members()]
        raise InputError(f"{path} has no '{inner}'{near(inner, names)} (it has {_listed(group)})") from None


def _listed(group: Any) -> str:
    return ", ".join(f"'{name}'" for name in sorted(name for name, _ in group.members())) or "nothing"


def _codecs(metadata: Mapping[str, Any]) -> Iterator[str]:
    """Yield the names of all codecs in the metadata of an array, those inside of shards included."""
    for key in ("codecs", "index_codecs", "filters", "compressor"):
        some = metadata.get(key) or ()
        for codec in some if isinstance(some, (list, tuple)) else [some]:
            settings = codec if isinstance(codec, Mapping) else codec.get_config()
            yield str(settings.get("id") or settings.get("name"))
            yield from _codecs(settings.get("configuration") or {})
