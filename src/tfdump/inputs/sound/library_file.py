"""FLAC files, and `.wav` files of other encodings, read by soundfile."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tfdump.errors import InputError, reason_of
from tfdump.inputs.sound.samples import SoundError, SoundFacts


class LibraryFile:
    """The samples of one file that soundfile reads; raises SoundError where it cannot."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._soundfile = _library(path)
        with self._opened() as file:
            self.facts = SoundFacts(file.samplerate, file.frames, file.channels)

    def read(self, start: int, stop: int) -> npt.NDArray[np.float32]:
        """Return the samples from `start` up to `stop` from -1 to 1, shape (stop - start, channels)."""
        with self._opened() as file:
            file.seek(start)
            samples: npt.NDArray[np.float32] = file.read(stop - start, dtype="float32", always_2d=True)
        if len(samples) < stop - start:
            raise SoundError(f"it ends after {start + len(samples):,} of {self.facts.samples:,} samples")
        return samples

    @contextmanager
    def _opened(self) -> Iterator[Any]:
        with self._path.open("rb") as stream:
            try:
                with self._soundfile.SoundFile(stream) as file:
                    yield file
            except self._soundfile.LibsndfileError as cause:
                raise SoundError(reason_of(cause).partition(": ")[2] or reason_of(cause)) from None


def _library(path: Path) -> Any:
    try:
        import soundfile
    except (ImportError, OSError) as cause:  # OSError where libsndfile is missing
        missing = isinstance(cause, ModuleNotFoundError)
        why = "" if missing else f" ({reason_of(cause)})"
        raise InputError(f"{path} needs the package soundfile{why}: pip install 'tfdump[sound]'") from None
    return soundfile
