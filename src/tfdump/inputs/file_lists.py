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

HIDDEN = "hidden"
"""What hidden files are counted as."""


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
    matches = matches_of(pattern)
    ours = [os.fsdecode(match) for match in matches if is_ours(os.fsdecode(match))]
    if not ours:
        return None
    others = Counter(ending_of(match) for match in matches if not is_ours(os.fsdecode(match)))
    folder = os.path.commonpath([os.path.dirname(path) for path in ours])
    below = [os.path.relpath(path, folder or None) for path in ours]
    return FileList(pattern, Path(folder), below, notes=tuple(about_others(others, f"matching {pattern}")))


def has_files(folder: Path, is_ours: IsOurs) -> bool:
    """Tell whether a file of this kind is in a folder or directly in one of its subfolders."""
    below = []
    for entry in _entries(os.fsencode(folder)):
        if is_ours(os.fsdecode(entry.name)) and entry.is_file():
            return True
        if not entry.name.startswith(b".") and entry.is_dir():
            below.append(entry.path)
    return any(is_ours(os.fsdecode(entry.name)) and entry.is_file() for path in below for entry in _entries(path))


def files_in_folder(folder: Path, is_ours: IsOurs) -> FileList:
    """Return the files of this kind in a folder and its subfolders.

    Where every file is in a subfolder of the folder, these are classes, numbered in sorted order. Hidden files are left
    out.
    """
    others: Counter[str] = Counter()
    ours = [os.fsdecode(path) for path in sorted(files_below(os.fsencode(folder), is_ours, others, follow=True))]
    del others[HIDDEN]
    tops = [path.partition("/")[0] if "/" in path else "" for path in ours]
    labels = None
    if all(tops):
        classes = sorted(set(tops), key=os.fsencode)
        numbers = {top: number for number, top in enumerate(classes)}
        labels = ClassLabels(np.array([numbers[top] for top in tops], np.int64), tuple(classes))
    notes = about_others(others, f"in {folder}")
    return FileList(str(folder), folder, ours, prefix_of(folder), labels, tuple(notes))


def prefix_of(folder: Path) -> str:
    """Return how the names of examples in a folder begin: with its name, however the argument leads to it."""
    name = Path(os.path.abspath(folder)).name
    return f"{name}/" if name else ""


def matches_of(pattern: str) -> list[bytes]:
    """Return the files that match a pattern, sorted by the bytes of their paths."""
    return sorted(os.fsencode(match) for match in glob.glob(pattern, recursive=True) if not os.path.isdir(match))


def files_below(top: bytes, is_ours: IsOurs, others: Counter[str], follow: bool = False) -> list[bytes]:
    """Return the files of a kind below a folder, as paths relative to it, in no order; count the others.

    Links to folders are not followed, but for those directly in the folder where `follow`.
    """
    paths = []
    waiting = [b""]
    while waiting:
        below = waiting.pop()
        ours, folders = split_folder(os.path.join(top, below), is_ours, others, follow and not below)
        paths += [below + name for name in ours]
        waiting += [below + name + b"/" for name in folders]
    return paths


def split_folder(
    folder: bytes, is_ours: IsOurs, others: Counter[str], follow: bool = False
) -> tuple[list[bytes], list[bytes]]:
    """Return the names of the files of a kind and of the subfolders in a folder, sorted; count what is neither.

    `others` counts by the endings of names, and what is hidden together.
    """
    ours, folders = [], []
    for entry in _entries(folder):
        if entry.name.startswith(b"."):
            others[HIDDEN] += 1
        elif entry.is_dir(follow_symlinks=follow):
            folders.append(entry.name)
        elif is_ours(os.fsdecode(entry.name)) and entry.is_file():
            ours.append(entry.name)
        else:
            others[ending_of(entry.name)] += 1
    return sorted(ours), sorted(folders)


def _entries(folder: bytes) -> "Iterator[os.DirEntry[bytes]]":
    try:
        with os.scandir(folder) as entries:
            yield from entries
    except OSError as cause:
        raise InputError(f"cannot list {os.fsdecode(folder)}: {cause.strerror}") from None


def ending_of(path: bytes) -> str:
    """Return the ending of the name of a file, in small letters."""
    return os.path.splitext(os.fsdecode(os.path.basename(path)))[1].lower() or "no ending"


def about_others(others: Counter[str], where: str) -> list[str]:
    """Return what to say about files that are of no use."""
    verb = "is" if others.total() == 1 else "are"
    return [f"{count_of_others(others)} {where} {verb} not read: {endings_of_others(others)}"] if others else []


def count_of_others(others: Counter[str]) -> str:
    """Return how many other files there are."""
    return f"{others.total():,} other file{'s' * (others.total() != 1)}"


def endings_of_others(others: Counter[str]) -> str:
    """Return the most frequent endings of other files, with how many files have each."""
    ordered = sorted(others.items(), key=lambda item: (-item[1], item[0]))
    shown = ", ".join(f"{count:,} {ending}" for ending, count in ordered[:_MOST_ENDINGS])
    return shown + (" ..." if len(ordered) > _MOST_ENDINGS else "")
