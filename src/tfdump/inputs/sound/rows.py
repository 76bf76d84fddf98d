"""Sound as rows of an array: one file each, or one piece of a file."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tfdump.errors import InputError, reason_of
from tfdump.files.limits import allowed_bytes, check_bytes
from tfdump.inputs.identity import ClassLabels, NamedReader
from tfdump.inputs.ragged import RaggedReader
from tfdump.inputs.sound.samples import SoundError
from tfdump.inputs.sound.sound_files import SoundFiles
from tfdump.tensors import Array


class _OfSound(NamedReader):
    """What both kinds of rows share. `channels` is None for samples without an axis of channels."""

    def _take(self, files: SoundFiles, channels: int | None, settings: Mapping[str, Any]) -> None:
        self.skipped: Sequence[tuple[str, str]] = files.skipped
        self.settings = {"sample_rate": files.rate, "channels": channels, **settings}
        self._files = files
        self._channels = channels

    def remarks(self, start: int, stop: int) -> Sequence[str]:
        """Return what the user should know of the files."""
        return self._files.notes

    def _samples(self, place: int, start: int, stop: int) -> npt.NDArray[np.float32]:
        size = (stop - start) * int(self._files.channels[place]) * np.dtype(np.float32).itemsize
        check_bytes(size, allowed_bytes(), f"{self._files.files.path(place)}: its samples take", InputError)
        try:
            samples = self._files.open(place).read(start, stop)
        except (SoundError, OSError) as cause:
            raise InputError(f"cannot read {self._files.files.path(place)}: {reason_of(cause)}") from None
        return samples[:, 0] if self._channels is None else samples


class WholeFiles(RaggedReader, _OfSound):
    """One row per file, padded to the longest one or to the length that the model declares."""

    def __init__(self, files: SoundFiles, channels: int | None) -> None:
        super().__init__(files.label, files.lengths, () if channels is None else (channels,), np.dtype(np.float32))
        self.names = _FileNames(files)
        self.labels = files.files.labels
        self._take(files, channels, {})

    def pad_to(self, length: int) -> None:
        """Pad every row to `length`; raises InputError where a file is longer."""
        if length < self.longest:
            path, seconds = self._files.files.path(int(self.lengths.argmax())), f"{length / self._files.rate:.6f}"
            raise InputError(
                f"{path} has {self.longest:,} samples, and the model takes {length:,} (cut it into pieces: "
                f"--window {seconds.rstrip('0').rstrip('.')})"
            )
        super().pad_to(length)

    def rows(self, start: int, stop: int) -> list[Array]:
        """Return the samples of some files, each of its own length."""
        return [self._samples(place, 0, int(self.lengths[place])) for place in range(start, stop)]


class _FileNames:
    """The names of files: `words/yes/1.wav`."""

    def __init__(self, files: SoundFiles) -> None:
        self._files = files.files

    def read(self, start: int, stop: int) -> list[str]:
        """Return the names of the files from `start` up to `stop`."""
        return [self._files.name(place) for place in range(start, min(stop, len(self._files)))]


class Pieces(_OfSound):
    """One row per piece of a file, shape (pieces, window) or (pieces, window, channels).

    Pieces begin every `hop` samples. What remains at the end of a file and is shorter than `window` is left out.
    """

    def __init__(self, files: SoundFiles, channels: int | None, window: int, hop: int) -> None:
        counts = np.maximum(0, (files.lengths - window) // hop + 1)
        self._firsts: npt.NDArray[np.int64] = np.concatenate([[0], np.cumsum(counts)])
        self._window, self._hop = window, hop
        self.label = files.label
        self.dtype: np.dtype[Any] = np.dtype(np.float32)
        self.shape: tuple[int, ...] = (int(self._firsts[-1]), window, *(() if channels is None else (channels,)))
        self.names = _PieceNames(self)
        if (labels := files.files.labels) is not None:
            self.labels = ClassLabels(np.repeat(labels.values, counts), labels.classes)
        self._take(files, channels, {"window": window, "hop": hop})
        if not self.shape[0]:
            longest = int(files.lengths.max()) / files.rate
            raise InputError(
                f"{files.label} has no sound of {window / files.rate:g} seconds (the longest has {longest:g}; give a "
                "shorter --window)"
            )

    def read(self, start: int, stop: int) -> Array:
        """Return the pieces from `start` up to `stop`; what they share is read once."""
        size = (stop - start) * math.prod(self.shape[1:]) * self.dtype.itemsize
        check_bytes(size, allowed_bytes(), f"{self.label}: one batch of sound takes", InputError)
        rows = np.empty((stop - start, *self.shape[1:]), self.dtype)
        done = 0
        for place, first, last in self.parts(start, stop):
            begin = first * self._hop
            samples = self._samples(place, begin, (last - 1) * self._hop + self._window)
            for piece in range(first, last):
                offset = piece * self._hop - begin
                rows[done] = samples[offset : offset + self._window]
                done += 1
        return rows

    def parts(self, start: int, stop: int) -> list[tuple[int, int, int]]:
        """Return the files of some rows, by their places, with the first and behind the last piece of each."""
        parts = []
        place = int(np.searchsorted(self._firsts, start, "right")) - 1
        while start < stop:
            first, end = int(self._firsts[place]), min(stop, int(self._firsts[place + 1]))
            if end > start:
                parts.append((place, start - first, end - first))
                start = end
            place += 1
        return parts

    def name(self, place: int, piece: int) -> str:
        """Return the name of a piece: that of its file, and where it begins, in seconds."""
        seconds = f"{piece * self._hop / self._files.rate:.6f}".rstrip("0").rstrip(".")
        return f"{self._files.files.name(place)}:{seconds}s"


class _PieceNames:
    """The names of pieces: `talk.wav:12.5s`."""

    def __init__(self, pieces: Pieces) -> None:
        self._pieces = pieces

    def read(self, start: int, stop: int) -> list[str]:
        """Return the names of the pieces from `start` up to `stop`."""
        stop = min(stop, self._pieces.shape[0])
        return [
            self._pieces.name(place, piece)
            for place, first, last in self._pieces.parts(start, stop)
            for piece in range(first, last)
        ]
