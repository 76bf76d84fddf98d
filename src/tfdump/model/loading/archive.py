"""Checks of a `.keras` archive, or of the folder that it unpacks to, before anything is unpacked."""

import io
import lzma
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO

import h5py

from tfdump.errors import ModelError, UntrustedModelError
from tfdump.files.formats import KERAS_WEIGHTS
from tfdump.files.hdf5 import check_whole, damage
from tfdump.files.limits import check_bytes
from tfdump.model.error_text import first_line

DAMAGED_ARCHIVE = (
    OSError, EOFError, ValueError, NotImplementedError, zipfile.BadZipFile, zlib.error, lzma.LZMAError
)  # fmt: skip
"""The errors that reading a damaged archive raises."""

_ENCRYPTED = 1
"""The flag of a member that needs a password."""

_LOCAL_HEADER = struct.Struct("<4s22xHH")
"""The header before the bytes of a member: a mark, and at its end the lengths of the name and the extra field."""


def check_members(path: Path, limit: int | None) -> None:
    """Raise ModelError for a `.keras` archive that cannot be unpacked safely.

    Its members must stay inside its folder, have different names, and take at most `limit` bytes together.
    """
    with _opened(path) as archive:
        members = archive.infolist()
        names = set()
        for member in members:
            parts = PurePosixPath(member.filename.replace("\\", "/")).parts
            if (
                not parts
                or parts[0].startswith("/")
                or ".." in parts
                or ":" in parts[0]
                or "\0" in member.orig_filename
            ):
                raise ModelError(
                    f"{path}: its member '{member.filename}' is outside of the archive (save the model again)"
                )
            if stat.S_ISLNK(member.external_attr >> 16):
                raise ModelError(
                    f"{path}: its member '{member.filename}' is a link, which is not followed (save the model again)"
                )
            if member.compress_type == zipfile.ZIP_STORED and member.compress_size != member.file_size:
                raise ModelError(f"{path} is damaged: the stored length of its member '{member.filename}' is wrong")
            if member.flag_bits & _ENCRYPTED:
                raise ModelError(f"{path}: its member '{member.filename}' is encrypted (save the model again)")
            if parts in names:
                raise ModelError(f"{path} is damaged: it has two members '{member.filename}'")
            names.add(parts)
        check_bytes(sum(member.file_size for member in members), limit, f"{path} unpacks to", ModelError)


def check_links(path: Path, trust: bool) -> None:
    """Raise UntrustedModelError for a folder with links in it, which may lead to any file, unless `trust`."""
    for item in sorted(path.rglob("*")):
        if item.is_symlink() and not trust:
            raise UntrustedModelError(
                f"{item} is a link, which tfdump does not follow (copy the file into the folder, or add "
                "--trust-model if you trust its author)"
            )


def check_weights(path: Path, limit: int | None) -> int:
    """Check everything in the weights file of a Keras model; return how many bytes the weights take in memory.

    Raises ModelError for links, for values in other files, and for more values than are stored or than `limit` allows.
    """
    with opened_weights(path) as (file, name):
        return check_whole(file, name, limit, ModelError)


@contextmanager
def opened_weights(path: Path) -> Iterator[tuple[h5py.File, str]]:
    """Open the weights file of a Keras model; yield it with its name for messages.

    Raises ModelError where there is none, and where it is damaged.
    """
    if path.is_dir():
        weights = path / KERAS_WEIGHTS
        if not weights.is_file():
            raise ModelError(f"{path} is incomplete: {KERAS_WEIGHTS} is missing")
        with _opened_hdf5(weights, str(weights)) as file:
            yield file, str(weights)
    elif not zipfile.is_zipfile(path):
        with _opened_hdf5(path, str(path)) as file:
            yield file, str(path)
    else:
        with _opened(path) as archive:
            if KERAS_WEIGHTS not in archive.namelist():
                raise ModelError(f"{path} is incomplete: its {KERAS_WEIGHTS} is missing")
            name = f"{path}::{KERAS_WEIGHTS}"
            with _opened_hdf5(_seekable(archive, path, archive.getinfo(KERAS_WEIGHTS)), name) as file:
                yield file, name


@contextmanager
def _opened_hdf5(source: "Path | _Member", name: str) -> Iterator[h5py.File]:
    try:
        with damage(ModelError, name), h5py.File(source, "r") as file:
            yield file
    except ModelError:
        raise
    except (zipfile.BadZipFile, EOFError) as cause:
        raise ModelError(f"{name} is damaged: {first_line(cause)}") from cause


@contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    """Open an archive; errors of reading it become ModelError."""
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except DAMAGED_ARCHIVE as cause:
        raise ModelError(f"cannot read {path}: {first_line(cause)}") from cause


class _Member(io.RawIOBase):
    """A range of bytes of a file, as a file that can seek; messages of h5py call it `name`."""

    def __init__(self, stream: IO[bytes], start: int, length: int, name: str) -> None:
        super().__init__()
        self._stream, self._start, self._length, self._name, self._at = stream, start, length, name, 0

    def __repr__(self) -> str:
        return self._name

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Set the position in the bytes and return it."""
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._length}[whence]
        return self._at

    def tell(self) -> int:
        """Return the position."""
        return self._at

    def readinto(self, buffer: "bytearray | memoryview", /) -> int:  # type: ignore[override]  # what h5py passes
        """Read into a buffer, up to the end of the bytes; return the number of bytes read."""
        view = memoryview(buffer).cast("B")
        view = view[: max(0, min(len(view), self._length - self._at))]
        if not view:  # a damaged file may point far beyond the end, where no stream can go
            return 0
        self._stream.seek(self._start + self._at)
        data = self._stream.read(len(view))
        view[: len(data)] = data
        self._at += len(data)
        return len(data)


def _seekable(archive: zipfile.ZipFile, path: Path, member: zipfile.ZipInfo) -> _Member:
    """Return a member as a file that can seek; one that is compressed, as Keras never does, is unpacked in memory."""
    name = f"{path}::{member.filename}"
    if member.compress_type != zipfile.ZIP_STORED:
        content = archive.read(member)
        return _Member(io.BytesIO(content), 0, len(content), name)
    stream = archive.fp
    assert stream is not None, "the archive is open"
    stream.seek(member.header_offset)
    header = stream.read(_LOCAL_HEADER.size)
    if len(header) < _LOCAL_HEADER.size or header[:4] != b"PK\x03\x04":
        raise zipfile.BadZipFile(f"the member {member.filename} is not where the archive says")
    _, name_length, extra_length = _LOCAL_HEADER.unpack(header)
    return _Member(stream, member.header_offset + len(header) + name_length + extra_length, member.file_size, name)
