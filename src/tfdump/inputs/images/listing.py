"""Which images a folder, a pattern or a list names, in an order that is the same everywhere."""

import glob
import os
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tfdump.errors import InputError
from tfdump.inputs.file_lists import (
    about_others,
    count_of_others,
    ending_of,
    endings_of_others,
    files_below,
    matches_of,
    prefix_of,
    split_folder,
)
from tfdump.inputs.identity import ClassLabels
from tfdump.inputs.images.headers import ENDINGS, is_image_name

_FORMATS = "JPEG, PNG, GIF, BMP and WebP"


class PathNames:
    """The paths of many files below a folder, which take little more memory than their bytes.

    A path begins with `prefix` where it is the name of an example.
    """

    def __init__(self, paths: Iterable[bytes], prefix: str = "") -> None:
        blob, ends = bytearray(), array("q", [0])
        for path in paths:
            blob += path
            ends.append(len(blob))
        self._blob, self._ends = blob, ends
        self._prefix = prefix

    def __len__(self) -> int:
        return len(self._ends) - 1

    def path(self, row: int) -> str:
        """Return the path of one file below the folder."""
        return os.fsdecode(bytes(self._blob[self._ends[row] : self._ends[row + 1]]))

    def read(self, start: int, stop: int) -> list[str]:
        """Return the names of the examples from `start` up to `stop`."""
        return [f"{self._prefix}{self.path(row)}" for row in range(start, min(stop, len(self)))]

    def rows(self, rows: Iterable[int]) -> "PathNames":
        """Return only the files of these rows."""
        return PathNames((os.fsencode(self.path(row)) for row in rows), self._prefix)


@dataclass(frozen=True)
class ImageFiles:
    """The images that an argument names: paths below a folder, and what a reader should know of them.

    `notes` are sentences for the user, and `skipped` are images that were left out, with the reasons.
    """

    label: str
    folder: Path
    names: PathNames
    labels: ClassLabels | None = None
    notes: tuple[str, ...] = ()
    skipped: tuple[tuple[str, str], ...] = ()

    def path(self, row: int) -> Path:
        """Return the path that opens one image."""
        return self.folder / self.names.path(row)

    def without(self, damaged: dict[int, str]) -> "ImageFiles":
        """Return the images without those of some rows; `damaged` tells the reason for each."""
        rows = [row for row in range(len(self.names)) if row not in damaged]
        skipped = tuple((self.names.read(row, row + 1)[0], reason) for row, reason in sorted(damaged.items()))
        labels = self.labels and replace(self.labels, values=self.labels.values[rows])
        return replace(self, names=self.names.rows(rows), labels=labels, skipped=skipped)


def images_in_folder(path: Path) -> ImageFiles:
    """Return the images in a folder and its subfolders.

    Where every image is in a subfolder, the subfolders are classes, numbered in sorted order as
    `keras.utils.image_dataset_from_directory` does. The order is by class, then by folder, then by name, all sorted by
    their bytes. Hidden files and links to folders below the classes are left out. Raises InputError where there is no
    image.
    """
    root = os.fsencode(path)
    others: Counter[str] = Counter()
    top, folders = split_folder(root, is_image_name, others, follow=True)
    counts: list[int] = []
    inside = _each_folder(root, folders, others, counts)
    notes = []
    labels = None
    if top:
        names = PathNames(sorted([*top, *inside], key=_place), _prefix(path))
        if any(counts):
            notes.append(f"{path} has images beside its subfolders, so these are not taken as classes")
    else:
        names = PathNames(inside, _prefix(path))
        labels = _classes(folders, counts)
    if not len(names):
        raise InputError(_nothing(path, others))
    notes += about_others(others, f"in {path}")
    return ImageFiles(str(path), path, names, labels, tuple(notes))


def images_of_pattern(pattern: str) -> ImageFiles:
    """Return the images that match a pattern, sorted by folder and name; raises InputError where there is none."""
    folder = Path(*_fixed(Path(pattern).parts[:-1]))
    root = os.fsencode(folder)
    matches = matches_of(pattern)
    if not matches:
        raise InputError(f"nothing matches {pattern} (a pattern such as 'photos/*.jpg' names images)")
    paths = sorted((os.path.relpath(match, root) for match in matches if is_image_name(match)), key=_place)
    others = Counter(ending_of(match) for match in matches if not is_image_name(match))
    if not paths:
        raise InputError(_nothing(Path(pattern), others))
    notes = about_others(others, f"matching {pattern}")
    return ImageFiles(pattern, folder, PathNames(paths, _prefix(folder)), notes=tuple(notes))


def images_in_list(path: Path, missing_too: bool) -> ImageFiles:
    """Return the images that a text file names, one path per line, relative to the folder of the file.

    Raises InputError where it names nothing, or a file that is not there unless `missing_too`.
    """
    try:
        text = path.read_bytes()
    except OSError as cause:
        raise InputError(f"cannot read the list {path}: {cause.strerror}") from None
    lines = [line.rstrip(b"\r") for line in text.removeprefix(b"\xef\xbb\xbf").split(b"\n")]
    if not any(lines):
        raise InputError(f"{path} lists no images (write one path per line)")
    folder = path.parent
    for number, line in enumerate(lines, 1):
        if line and not missing_too and not os.path.isfile(os.path.join(os.fsencode(folder), line)):
            raise InputError(
                f"{path} lists '{os.fsdecode(line)}' in line {number}, and there is no such file (paths are relative "
                "to the folder of the list)"
            )
    return ImageFiles(f"@{path}", folder, PathNames(line for line in lines if line))


def image_file(path: Path) -> ImageFiles:
    """Return one image file."""
    return ImageFiles(str(path), path.parent, PathNames([os.fsencode(path.name)], _prefix(path.parent)))


def _prefix(folder: Path) -> str:
    """Return how names begin below a folder; nothing where the argument is relative to the working directory."""
    return prefix_of(folder) if folder.parts else ""


def _fixed(parts: Sequence[str]) -> list[str]:
    """Return the first parts of a pattern, up to one with a wildcard."""
    fixed = []
    for part in parts:
        if glob.has_magic(part):
            break
        fixed.append(part)
    return fixed


def _place(path: bytes) -> tuple[bytes, bytes]:
    return os.path.split(path)


def _each_folder(root: bytes, folders: Iterable[bytes], others: Counter[str], counts: list[int]) -> Iterator[bytes]:
    """Yield the images in some folders, folder by folder; append to `counts` how many each has."""
    for folder in folders:
        counts.append(0)
        for path in sorted(files_below(root + b"/" + folder, is_image_name, others), key=_place):
            counts[-1] += 1
            yield folder + b"/" + path


def _classes(folders: Sequence[bytes], counts: Sequence[int]) -> ClassLabels:
    values: npt.NDArray[np.int64] = np.repeat(np.arange(len(counts), dtype=np.int64), counts)
    return ClassLabels(values, tuple(os.fsdecode(name) for name in folders))


def _nothing(path: Path, others: Counter[str]) -> str:
    if not others:
        return f"{path} is a folder without files (put images into it, or give a file of arrays)"
    return (
        f"{path} has no images among {count_of_others(others)}: {endings_of_others(others)} ({_FORMATS} files are "
        f"images, by their endings {', '.join(ENDINGS)})"
    )
