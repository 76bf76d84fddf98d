"""A folder of dumps in the order of training, read without TensorFlow."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tfdump.dump import layout
from tfdump.dump.other_formats import refuse_model_folder
from tfdump.dump.reader import Dump, open_dump
from tfdump.errors import DumpError, near
from tfdump.files.paths import as_argument, check_path

SUFFIXES = (".h5", ".hdf5")
"""The endings of the names of dumps."""

POSITION, NUMBER = "dump", "number"
"""What the numbers of a series mean besides `epoch` and `batch`: positions in the series, or numbers in file names."""


@dataclass(frozen=True)
class SeriesDump:
    """One dump of a series.

    `number` is its place on the axis of the series, `bytes` the size of the file. `epoch` and `batch` are None if the
    dump was not made during training. The file is not open, because a series may have more dumps than a process may
    have open files; `open` opens it.
    """

    path: Path
    number: int
    kind: str
    epoch: int | None
    batch: int | None
    bytes: int

    def open(self) -> Dump:
        """Open the dump for reading; raises DumpError if it is gone."""
        return open_dump(self.path)


@dataclass(frozen=True)
class SkippedFile:
    """A file in the folder that could be a dump and is not, with the reason."""

    path: Path
    reason: str


@dataclass(frozen=True)
class Series:
    """The dumps of a folder in the order of training; `axis` says what their numbers are.

    The axis is `epoch`, `batch`, `number` (the last number in each file name) or `dump` (1, 2, ...). Dumps of different
    kinds from the same point of the training share a number, except along `dump`.
    """

    folder: Path
    axis: str
    dumps: tuple[SeriesDump, ...]
    skipped: tuple[SkippedFile, ...]

    def of_kind(self, kind: str) -> tuple[SeriesDump, ...]:
        """Return the dumps of `activations`, or those of `gradients`."""
        return tuple(dump for dump in self.dumps if dump.kind == kind)


@dataclass(frozen=True)
class Located:
    """The place of one tensor in a series: its full name (`gradients/weights/dense.kernel`) and the dumps that have it.

    `without` has the other dumps of the same kind.
    """

    name: str
    dumps: tuple[SeriesDump, ...]
    without: tuple[SeriesDump, ...]


def locate(series: Series, address: str) -> Located:
    """Find a tensor, named as in `Dump`, in the dumps of a series.

    If dumps have it in different groups, the first of these groups counts, as in a single dump. Raises DumpError with
    near names if no dump has it.
    """
    groups: dict[SeriesDump, str] = {}
    known: dict[str, None] = {}
    for place in series.dumps:
        with place.open() as dump:
            if address in dump:
                tensor = dump[address]
                groups[place] = tensor.group
                name = tensor.address
            else:
                known |= dict.fromkeys(name for names in dump.groups.values() for name in names)
    if not groups:
        raise DumpError(
            f"no dump in {series.folder} has a tensor '{address}'{near(address, known)} "
            f"(list the tensors of one dump: tfdump show {as_argument(series.dumps[-1].path)})"
        )
    group = min(groups.values(), key=layout.group_rank)
    dumps = tuple(place for place in groups if groups[place] == group)
    kinds = {place.kind for place in dumps}
    without = tuple(place for place in series.dumps if place.kind in kinds and place not in dumps)
    return Located(f"{group}/{name}", dumps, without)


def open_series(folder: str | Path) -> Series:
    """Return the dumps of a folder, without sub-folders, in the order of training.

    The order follows the epochs and batches in the dumps or, if one of them has none, the file names, with numbers
    compared as numbers. Raises DumpError if there is no dump.
    """
    folder = Path(folder)
    check_path(folder, "folder", DumpError)
    dumps: list[SeriesDump] = []
    skipped: list[SkippedFile] = []
    intervals = set()
    for path in _files(folder):
        try:
            with open_dump(path) as dump:
                values = [dump.attributes.get(name) for name in (layout.EPOCH, layout.BATCH)]
                epoch, batch = (value if isinstance(value, int) else None for value in values)
                intervals.add(dump.attributes.get(layout.INTERVAL))
                kind = str(dump.attributes.get("kind"))
            dumps.append(SeriesDump(path, 0, kind, epoch, batch, path.stat().st_size))
        except DumpError as error:
            skipped.append(SkippedFile(path, str(error)))
        except OSError as error:  # removed in the meantime, by a training that is still running
            skipped.append(SkippedFile(path, f"cannot look at {path}: {error.strerror}"))
    if not dumps:
        refuse_model_folder(folder)
        reasons = f": {skipped[0].reason}" if len(skipped) == 1 else ""
        raise DumpError(
            f"{folder} has no dumps among its {' and '.join(SUFFIXES)} files{reasons} "
            "(give a folder that tfdump.DumpCallback filled, or one file)"
        )
    axis, ordered = _in_order(dumps, intervals)
    return Series(folder, axis, tuple(ordered), tuple(skipped))


def _files(folder: Path) -> list[Path]:
    """Return the files that may be dumps, in the order of their names."""
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for entry in entries if entry.name.endswith(SUFFIXES) and not entry.is_dir()]
    except OSError as cause:
        raise DumpError(f"cannot read the folder {folder}: {cause.strerror}") from None
    return [folder / name for name in sorted(names, key=_by_numbers)]


def _by_numbers(name: str) -> list[tuple[int, int, str]]:
    """Return a sort key that compares the numbers in names as numbers: `step-9` comes before `step-10`."""
    parts = re.split(r"([0-9]+)", name)
    return [(0, int(part), part) if number % 2 else (1, 0, part) for number, part in enumerate(parts)]


def _in_order(dumps: Sequence[SeriesDump], intervals: set[object]) -> tuple[str, list[SeriesDump]]:
    """Return the axis, and the dumps in order with their numbers on it; `dumps` are in the order of their names."""
    if all(dump.epoch is not None and dump.batch is not None for dump in dumps):
        ordered = sorted(dumps, key=lambda dump: (dump.epoch, dump.batch))
        axis = layout.EPOCH if intervals == {layout.EPOCH} else layout.BATCH
        numbers = [dump.epoch if axis == layout.EPOCH else dump.batch for dump in ordered]
    else:
        ordered, axis = list(dumps), NUMBER
        numbers = [_last_number(dump.path) for dump in ordered]
    known = [number for number in numbers if number is not None]
    named_apart = len({(dump.kind, number) for dump, number in zip(ordered, numbers, strict=True)}) == len(ordered)
    if len(known) < len(ordered) or known != sorted(known) or (axis == NUMBER and not named_apart):
        axis, known = POSITION, list(range(1, len(ordered) + 1))
    return axis, [
        SeriesDump(dump.path, number, dump.kind, dump.epoch, dump.batch, dump.bytes)
        for dump, number in zip(ordered, known, strict=True)
    ]


def _last_number(path: Path) -> int | None:
    """Return the last number in the name of a file, without its suffix, or None."""
    numbers = re.findall(r"[0-9]+", path.stem)
    return int(numbers[-1]) if numbers else None
