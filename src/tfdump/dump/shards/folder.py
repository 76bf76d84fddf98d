"""The folder of shards: what it may be, its lock, and the files that killed writers left in it.

A writer locks its temporary file for as long as it lives, so a temporary file that can be locked has no writer. The
system ends the lock with the process, however that ends. On file systems without locks nothing is swept.
"""

import errno
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tfdump.dump.shards.manifest import MANIFEST, Manifest, is_shard_folder
from tfdump.dump.shards.shard_file import range_of_name, shard_name
from tfdump.dump.target import PARTIAL
from tfdump.dump.writer import DumpWriter
from tfdump.errors import DumpError
from tfdump.files.paths import exists

try:
    import fcntl
except ImportError:  # Windows, whose locks keep others from reading
    fcntl = None  # type: ignore[assignment]  # without it there are no locks

LOCK = ".lock"
"""The file in the folder that is locked while temporary files are made or swept. It may remain."""

_TEMPORARY = re.compile(rf"(shard-\d{{12,}}-\d{{12,}}\.h5|{re.escape(MANIFEST)})\..+{re.escape(PARTIAL)}")
_NO_LINKS = getattr(os, "O_NOFOLLOW", 0)  # Windows has no such flag
_NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)


def check_folder(folder: Path) -> None:
    """Raise DumpError where a path cannot be a folder of shards; it need not be there yet."""
    if not os.path.lexists(folder):
        if not folder.parent.is_dir():
            raise DumpError(f"--shards {folder}: the folder {folder.parent} does not exist (make it first)")
        return
    if not folder.is_dir():
        raise DumpError(f"--shards {folder} is not a folder (choose another)")
    try:
        names = os.listdir(folder)
    except OSError as cause:
        raise DumpError(f"cannot read the folder {folder}: {cause.strerror}") from None
    shards = sorted(name for name in names if range_of_name(name) is not None)
    if shards and not is_shard_folder(folder):
        raise DumpError(f"{folder} has {shards[0]}, and no {MANIFEST} (choose another folder)")


def check_writable(folder: Path) -> None:
    """Raise DumpError where nothing can be written in a folder, or the folder cannot be made."""
    place = folder if folder.is_dir() else folder.parent
    if not os.access(place, os.W_OK | os.X_OK):
        raise DumpError(f"cannot write in {place} (choose another folder with --shards)")


def make_folder(folder: Path) -> None:
    """Make the folder where it is missing; raises DumpError where that is not possible, or nothing can be written."""
    try:
        folder.mkdir(exist_ok=True)
    except OSError as cause:
        raise DumpError(f"cannot make the folder {folder}: {cause.strerror}") from None
    os.close(_opened(folder / LOCK))


def missing_shards(manifest: Manifest, folder: Path) -> int:
    """Return how many shards of a run have no file in the folder."""
    return sum(not exists(folder / shard_name(*bounds)) for bounds in manifest.ranges)


def shards_so_far(manifest: Manifest, folder: Path) -> str:
    """Return how many shards there are when a run ended before all were made."""
    count = len(manifest.ranges)
    there = count - missing_shards(manifest, folder)
    return f"{there} of {count} shards are in {folder} (the same command makes the others)"


@contextmanager
def locked(folder: Path) -> Iterator[bool]:
    """Hold the lock of the folder while the body runs, which must be short; yields False where there are no locks."""
    handle = _opened(folder / LOCK)
    try:
        yield _lock(handle, wait=True)
    finally:
        os.close(handle)


@contextmanager
def shard_writer(folder: Path, opened: Callable[[], DumpWriter]) -> Iterator[DumpWriter]:
    """Yield a writer of a shard in the folder, whose temporary file is locked until it is complete or discarded."""
    with locked(folder):
        writer = opened()
        handle = None if writer.partial is None else _opened(writer.partial)
        if handle is not None:
            _lock(handle, wait=False)
    try:
        with writer:
            yield writer
    finally:
        if handle is not None:
            os.close(handle)


def sweep(folder: Path) -> list[str]:
    """Remove the temporary files whose writers are dead; return their names. Other files are left alone."""
    swept = []
    with locked(folder) as has_locks:
        for name in sorted(os.listdir(folder)) if has_locks else ():
            if _TEMPORARY.fullmatch(name) and _is_left(folder / name):
                (folder / name).unlink(missing_ok=True)
                swept.append(name)
    return swept


def swept_in_words(folder: Path, names: list[str]) -> str:
    """Return a note of the files that `sweep` removed."""
    what = "a file" if len(names) == 1 else f"{len(names)} files"
    return f"removed {what} that a killed run had left in {folder} ({names[0]})"


def _is_left(path: Path) -> bool:
    """Tell whether nobody has locked a temporary file. It is a regular file of this name, and no link."""
    try:
        handle = os.open(path, os.O_RDWR | _NO_LINKS)
    except OSError:
        return False  # complete or discarded meanwhile, or somebody else's
    try:
        return _lock(handle, wait=False)
    finally:
        os.close(handle)


def _opened(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | _NO_LINKS, 0o666)
    except OSError as cause:
        raise DumpError(f"cannot write in {path.parent}: {cause.strerror}") from None


def _lock(handle: int, wait: bool) -> bool:
    """Lock an open file until it is closed; return False where another process has it, or there are no locks."""
    if fcntl is None:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    except OSError as cause:
        if cause.errno in _NO_LOCKS:
            return False
        raise
    return True
