"""The dumps that a training writes into a folder: their names, and those that are there already."""

import re
from pathlib import Path

from tfdump.dump import layout
from tfdump.dump.reader import open_dump
from tfdump.errors import DumpError

_IN_THE_WAY = "and the training will write a dump of that name (move it, or choose another folder)"

MADE_BY = "tfdump.DumpCallback"
"""The attribute `command` of these dumps."""

_DIGITS = {layout.EPOCH: 4, layout.BATCH: 6}


def dump_name(interval: str, number: int, kind: str) -> str:
    """Return the name of the dump of an epoch or batch, such as `epoch-0003.activations.h5`; names sort in order."""
    return f"{interval}-{number:0{_DIGITS[interval]}d}.{kind}.h5"


def dumps_after(folder: Path, interval: str, kind: str, epoch: int) -> list[Path]:
    """Return the dumps in a folder that a training that continues after `epoch` epochs would mix with its own.

    They have the same interval and kind, and belong to a later epoch. Raises DumpError for a file with such a name that
    no training made.
    """
    pattern = re.compile(rf"{interval}-\d{{{_DIGITS[interval]},}}\.{kind}\.h5")
    names = sorted(path for path in folder.iterdir() if pattern.fullmatch(path.name))
    return [path for path in names if _epoch_of(path) > epoch]


def _epoch_of(path: Path) -> int:
    try:
        with open_dump(path) as dump:
            made, epoch = dump.attributes.get("command") == MADE_BY, dump.attributes.get(layout.EPOCH)
    except DumpError as error:
        raise DumpError(f"{error}, {_IN_THE_WAY}") from None
    if not (made and isinstance(epoch, int)):
        raise DumpError(f"{path} was not made by {MADE_BY}, {_IN_THE_WAY}")
    return epoch


def claim_folder(folder: Path, interval: str, kind: str, epoch: int, overwrite: bool) -> None:
    """Create the folder of a training that begins after `epoch`; with `overwrite`, remove later dumps in it.

    Raises DumpError if an earlier training left such dumps, or if the folder cannot be used.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        earlier = dumps_after(folder, interval, kind, epoch)
        if earlier and not overwrite:
            raise DumpError(
                f"{folder} has dumps of an earlier training ({earlier[0].name}); choose another folder, "
                "remove them with overwrite=True, or continue after them with fit(initial_epoch=...)"
            )
        for path in earlier:
            path.unlink()
    except OSError as cause:
        raise DumpError(f"cannot use the folder {folder}: {cause.strerror}") from None
