"""Writes exported bytes to their destination: completely, or not at all."""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from tfdump.dump.target import PARTIAL, check_target, make_partial, move_into_place, new_mode
from tfdump.errors import DumpError
from tfdump.exports.folder import INDEX, listed_files
from tfdump.process.signals import raise_waiting


def write_files(files: Sequence[tuple[Path, Iterable[bytes]]], force: bool, check: Callable[[], None]) -> None:
    """Write files beside their targets, and rename them after `check` has passed; raises DumpError."""
    targets = [check_target(path, force) for path, _ in files]
    partials: list[Path] = []
    with contextlib.ExitStack() as stack:
        for target, (path, blocks) in zip(targets, files, strict=True):
            stack.enter_context(_explained(path))
            partial = make_partial(target)
            stack.callback(partial.unlink, missing_ok=True)
            partials.append(partial)
            _write(partial, blocks)
        check()
        for partial, target in zip(partials, targets, strict=True):
            move_into_place(partial, target, force)


def check_output_folder(path: Path, force: bool) -> None:
    """Raise DumpError if a folder of exported files cannot be written to `path`.

    An empty folder is filled. Another folder is replaced with `force`, if everything in it was written by
    `write_folder`.
    """
    target = Path(os.path.realpath(path))
    if not target.parent.is_dir():
        raise DumpError(f"output folder {path.parent} does not exist (make it first, or choose another with -o)")
    if not os.path.lexists(target):
        return
    if not target.is_dir():
        raise DumpError(f"output {path} is a file, and a folder is to be written (choose another with -o)")
    with _explained(path):
        if not any(target.iterdir()):
            return
        there = {entry.relative_to(target).as_posix() for entry in target.rglob("*") if not _is_folder(entry)}
        index = target / INDEX
        ours = listed_files(index.read_text("utf-8", "replace")) if index.is_file() else set()
    strange = sorted(there - ours)
    if strange:
        raise DumpError(f"output {path} holds a file that tfdump did not write: {strange[0]} (choose another with -o)")
    if not force:
        raise DumpError(f"output {path} exists (overwrite it with -f, or choose another with -o)")


def write_folder(
    path: Path, files: Iterable[tuple[str, Iterator[bytes]]], force: bool, check: Callable[[], None]
) -> None:
    """Write files into a folder beside the target, and rename it after `check` has passed."""
    check_output_folder(path, force)
    target = Path(os.path.realpath(path))
    with _explained(path):
        partial = sibling_folder(target)
        try:
            for name, blocks in files:
                (partial / name).parent.mkdir(parents=True, exist_ok=True)
                _write(partial / name, blocks)
            check()
            partial.chmod(new_mode(0o777))
            replace_folder(partial, target)
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def replace_folder(partial: Path, target: Path) -> None:
    """Rename a complete folder to its target, where an older folder may be."""
    old = sibling_folder(target) if target.exists() else None
    if old is not None:
        os.replace(target, old)
    try:
        os.replace(partial, target)
    except OSError:
        if old is not None:
            os.replace(old, target)
        raise
    if old is not None:
        shutil.rmtree(old, ignore_errors=True)


def sibling_folder(target: Path) -> Path:
    """Make an empty folder beside a target, under a name of its own."""
    return Path(tempfile.mkdtemp(PARTIAL, target.name[:100] + ".", target.parent))


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _write(path: Path, blocks: Iterable[bytes]) -> None:
    with path.open("wb") as stream:
        for block in blocks:
            stream.write(block)
            raise_waiting()


@contextlib.contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn an error of the file system into a DumpError."""
    try:
        yield
    except FileExistsError:
        raise DumpError(f"output {path} was made by another run meanwhile (choose another with -o)") from None
    except OSError as cause:
        raise DumpError(f"cannot write {path}: {cause.strerror or cause}") from cause
