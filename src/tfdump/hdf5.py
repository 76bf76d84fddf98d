"""Opening HDF5 files of strangers: no link leads out of the file, and no dataset keeps its bytes elsewhere."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py

from tfdump.errors import TfdumpError, near
from tfdump.paths import check_path


def open_hdf5(path: Path, error: type[TfdumpError]) -> h5py.File:
    """Open an HDF5 file for reading; raises `error` with one line when that is not possible."""
    check_path(path, "file", error)
    if path.is_dir():
        raise error(f"{path} is a folder, not an HDF5 file")
    try:
        with path.open("rb"):
            pass
    except OSError as cause:
        raise error(f"cannot read {path}: {cause.strerror}") from None
    try:
        is_hdf5 = h5py.is_hdf5(path)
        if is_hdf5:
            return h5py.File(path, "r")
    except OSError as cause:
        if "truncated" in str(cause):
            raise error(f"{path} is truncated: it is shorter than its own header says") from None
        raise error(f"cannot open {path}: {_reason(cause)}") from None
    raise error(f"{path} is not an HDF5 file")


def lookup(group: h5py.Group, name: str, error: type[TfdumpError]) -> h5py.Group | h5py.Dataset:
    """Return the object at the path `name` below `group`, following hard links only.

    Raises `error` where nothing is there (with near names), where a soft or external link stands in the
    way, and for a dataset whose values are in other files.
    """
    here: Any = group
    walked = ""
    for part in (part for part in name.split("/") if part):
        if not isinstance(here, h5py.Group) or not has_link(here, part):
            known = [str(key) for key in here] if isinstance(here, h5py.Group) else []
            raise error(f"{group.file.filename} has no '{walked}/{part}'{near(part, known)}")
        link = here.get(part, getlink=True)
        walked += "/" + part
        if not isinstance(link, h5py.HardLink):
            raise error(
                f"{group.file.filename}: '{walked}' is a link to another place, which is not followed "
                "(copy the data into the file itself)"
            )
        with damage(error, f"{group.file.filename}: '{walked}'"):
            here = here[part]
    if isinstance(here, h5py.Dataset):
        check_stored_inside(here, error)
    return here


@contextmanager
def damage(error: type[TfdumpError], where: str) -> Iterator[None]:
    """Turn what h5py raises on a damaged file into `error`."""
    try:
        yield
    except (OSError, KeyError, RuntimeError, ValueError, TypeError, AttributeError, UnicodeError) as cause:
        reason = str(cause).splitlines()[0] if str(cause) else type(cause).__name__
        raise error(f"{where} is damaged: {reason}") from cause


def may_be_dataset(group: h5py.Group, name: str) -> bool:
    """Tell whether a member of a group is no sub-group; links that lead elsewhere and damaged members may be."""
    if not isinstance(group.get(name, getlink=True), h5py.HardLink):
        return True
    try:
        return group.get(name, getclass=True) is not h5py.Group
    except (OSError, KeyError, RuntimeError):
        return True


def has_link(group: h5py.Group, name: str) -> bool:
    """Tell whether a group has a link of this name, without following it (which `name in group` does)."""
    return name != "." and group.get(name, getlink=True) is not None


def check_stored_inside(dataset: h5py.Dataset, error: type[TfdumpError]) -> None:
    """Raise `error` when a dataset is virtual or has external storage."""
    if dataset.is_virtual or dataset.external:
        kind = "virtual" if dataset.is_virtual else "stored in external files"
        raise error(
            f"{dataset.file.filename}: '{dataset.name}' is {kind}, and other files are not read "
            "(copy the data into the file itself)"
        )


def _reason(cause: OSError) -> str:
    """Return the informative part of HDF5's message."""
    text = str(cause)
    return text[text.find("(") + 1 : text.rfind(")")] if "(" in text else text
