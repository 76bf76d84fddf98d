"""The place of a dump: what may be there already, the temporary file beside it, and the move into place."""

import errno
import os
import shutil
import stat
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tfdump.byte_sizes import show_bytes
from tfdump.errors import DumpError
from tfdump.files.paths import exists

PARTIAL = ".partial"
"""The ending of the name of a file that is being written."""


def check_target(path: Path, force: bool, sources: Sequence[Path] = ()) -> Path:
    """Return the file that `path` names, with symbolic links resolved.

    Raises DumpError if it cannot become a dump: the folder does not exist, something other than a regular file is
    there, it is one of the `sources` of the dump, or a file is there and `force` is False.
    """
    try:
        target = path.resolve()
    except RuntimeError:
        raise DumpError(f"output {path} is a loop of symbolic links (choose another with -o)") from None
    shown_parent = target.parent if os.path.islink(path) else path.parent
    if not target.parent.is_dir():
        raise DumpError(f"output folder {shown_parent} does not exist (make it first, or choose another with -o)")
    try:
        mode = target.stat().st_mode
    except FileNotFoundError:
        return target
    except OSError as cause:
        raise DumpError(f"cannot use {path} as output: {cause.strerror}") from None
    if not stat.S_ISREG(mode):
        raise DumpError(f"output {path} is not a regular file (choose another with -o)")
    for source in sources:
        if exists(source) and source.samefile(target):
            raise DumpError(f"output {path} is the file that the dump is made from (choose another with -o)")
    if not force:
        raise DumpError(f"output {path} exists (overwrite it with -f, or choose another with -o)")
    return target


def check_space(path: Path, planned: int, option: str = "-o") -> None:
    """Raise DumpError if `planned` bytes do not fit into the folder of `path`, which `option` names."""
    free = shutil.disk_usage(path.resolve().parent).free
    if planned > free:
        raise DumpError(
            f"the dump would take {show_bytes(planned)}, and {path.parent} has {show_bytes(free)} left "
            f"(choose fewer layers with -l, --reduce or --dtype float16, or another folder with {option})"
        )


def make_partial(target: Path, alone: bool = False) -> Path:
    """Make the empty file that will become `target`, beside it; raises DumpError if nothing can be written there.

    Its name is unique, so that several runs may have one target. A run that holds a lock is `alone` and reuses the file
    that an earlier run left.
    """
    try:
        if alone:
            name = str(target.with_name(f"{target.name}.new{PARTIAL}"))
            handle = os.open(name, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        else:
            handle, name = tempfile.mkstemp(PARTIAL, target.name[:100] + ".", target.parent)
    except OSError as cause:
        raise DumpError(f"cannot write in {target.parent}: {cause.strerror}") from None
    os.close(handle)
    return Path(name)


def move_into_place(partial: Path, target: Path, force: bool) -> None:
    """Rename a complete file to its target, with the permissions of a new file.

    Raises FileExistsError if a file has appeared there in the meantime and `force` is False.
    """
    os.chmod(partial, new_mode(0o666))
    if force:
        os.replace(partial, target)
    else:
        _move_without_replacing(partial, target)


def write_complete_file(data: bytes, target: Path, force: bool) -> None:
    """Write a file beside its place and rename it; raises DumpError if that is not possible."""
    partial = make_partial(target)
    try:
        partial.write_bytes(data)
        move_into_place(partial, target, force)
    except FileExistsError:
        partial.unlink(missing_ok=True)
        raise DumpError(f"output {target} was made by another run meanwhile (choose another with -o)") from None
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise DumpError(f"cannot write {target}: {os.strerror(error.errno or 0)}") from error
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def _move_without_replacing(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError as error:
        if isinstance(error, FileExistsError):
            raise
        if target.exists():  # a file system without hard links: look, then rename
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target)) from None
        os.replace(source, target)
    else:
        source.unlink()


def new_mode(mode: int) -> int:
    """Return the permissions of a new file or folder of this mode."""
    mask = os.umask(0)
    os.umask(mask)
    return mode & ~mask
