"""The files that a folder or a pattern names, sorted by the bytes of their paths, and the names of their examples."""

import glob
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from tfdump.errors import InputError
from tfdump.inputs.identity import ClassLabels

IsOurs = Callable[[str], bool]
"""Tells by its name whether a file is of the kind that is looked for."""

_MOST_ENDINGS = 4
"""Endings of other files that a note names."""

WILDCARDS = "*?["


@dataclass(frozen=True)
class FileList:
    """Files that are read one after another.

    Attributes
    ----------
    label : str
        The argument that names them, for messages.
    folder : Path
        Folder that all files are in, or below.
    below : sequence of str
        The paths of the files, relative to it.
    prefix : str
        What is written before these as the names of examples.
    labels : ClassLabels or None
        The class of each file, where all files are in subfolders.
    notes : tuple of str
        What a reader should know, such as files that are not read.
    """

    label: str
    folder: Path
    below: Sequence[str]
    prefix: str = ""
    labels: ClassLabels | None = None
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        """Return the number of files."""
        return len(self.below)

    def path(self, place: int) -> Path:
        """Return one of the files."""
        return self.folder / self.below[place]

    def name(self, place: int) -> str:
        """Return what the examples of a file are called."""
        return self.prefix + self.below[place]

    def only(self, places: Sequence[int]) -> "FileList":
        """Return the list without the other files."""
        labels = self.labels and replace(self.labels, values=self.labels.values[places])
        return replace(self, below=[self.below[place] for place in places], labels=labels)


def single_file(path: Path) -> FileList:
    """Return a single file."""
    return FileList(str(path), path.parent, [path.name])


def files_of_pattern(pattern: str, is_ours: IsOurs) -> FileList | None:
    """Return the files that match a pattern; None where none of them is of this kind."""
    matches = sorted(os.fsencode(match) for match in glob.glob(pattern, recursive=True) if not os.path.isdir(match))
    ours = [os.fsdecode(match) for match in matches if is_ours(os.fsdecode(match))]
    if not ours:
        return None
    notes = _about(matches, ours, f"matching {pattern}")
    folder = os.path.commonpath([os.path.dirname(path) for path in ours])
    return FileList(pattern, Path(folder), [os.path.relpath(path, folder or None) for path in ours], notes=notes)


def has_files(folder: Path, is_ours: IsOurs) -> bool:
    """Tell whether a file of this kind is in a folder or directly in one of its subfolders."""
    below = []
    for entry in _entries(folder):
        if is_ours(entry.name) and entry.is_file():
            return True
        if not entry.name.startswith(".") and entry.is_dir():
            below.append(entry.path)
    return any(is_ours(entry.name) and entry.is_file() for path in below for entry in _entries(Path(path)))


def files_in_folder(folder: Path, is_ours: IsOurs) -> FileList:
    """Return the files of this kind in a folder and its subfolders.

    Where every file is in a subfolder of the folder, these are classes, numbered in sorted order. Hidden files are left
    out.
    """
    every = sorted(_walk(os.fsencode(folder)))
    ours = [os.fsdecode(path) for path in every if is_ours(os.fsdecode(path))]
    name = Path(os.path.abspath(folder)).name
    tops = [path.partition("/")[0] if "/" in path else "" for path in ours]
    labels = None
    if all(tops):
        classes = sorted(set(tops), key=os.fsencode)
        numbers = {top: number for number, top in enumerate(classes)}
        labels = ClassLabels(np.array([numbers[top] for top in tops], np.int64), tuple(classes))
    notes = _about(every, ours, f"in {folder}")
    return FileList(str(folder), folder, ours, f"{name}/" if name else "", labels, notes)


def _walk(root: bytes) -> list[bytes]:
    """Return the paths of all files below a folder, relative to it; links to folders are not followed below the top."""
    paths = []
    waiting = [b""]
    while waiting:
        below = waiting.pop()
        for entry in _entries(Path(os.fsdecode(os.path.join(root, below)))):
            name = below + os.fsencode(entry.name)
            if entry.name.startswith("."):
                continue
            if entry.is_dir(follow_symlinks=not below):
                waiting.append(name + b"/")
            elif entry.is_file():
                paths.append(name)
    return paths


def _entries(folder: Path) -> "Iterator[os.DirEntry[str]]":
    try:
        with os.scandir(folder) as entries:
            yield from entries
    except OSError as cause:
        raise InputError(f"cannot list {folder}: {cause.strerror}") from None


def _about(every: Sequence[bytes], ours: Sequence[str], where: str) -> tuple[str, ...]:
    """Return what to say about files of other kinds."""
    read = set(ours)
    others = Counter(
        Path(os.fsdecode(path)).suffix.lower() or "no ending" for path in every if os.fsdecode(path) not in read
    )
    if not others:
        return ()
    shown = ", ".join(f"{count:,} {ending}" for ending, count in others.most_common(_MOST_ENDINGS))
    more = " ..." if len(others) > _MOST_ENDINGS else ""
    count = others.total()
    files, verb = ("file", "is") if count == 1 else ("files", "are")
    return (f"{count:,} other {files} {where} {verb} not read: {shown}{more}",)
