"""The sound files that an argument names: opened once, so that what does not fit is told before a run."""

from array import array
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tfdump.errors import InputError, reason_of
from tfdump.inputs.file_lists import FileList
from tfdump.inputs.sound.open_sound import open_sound
from tfdump.inputs.sound.samples import SoundError, SoundFacts, SoundSamples
from tfdump.process.signals import raise_waiting


class SoundFiles:
    """Sound files of one sample rate, without damaged ones where `skip_damaged`; `skipped` names these.

    Raises InputError for files of different rates, or of another one than `rate` where it is given; for a file without
    samples; and for a damaged file without `skip_damaged`.
    """

    def __init__(self, files: FileList, rate: int | None, skip_damaged: bool) -> None:
        self.label = files.label
        self.notes = list(files.notes)
        self.skipped: list[tuple[str, str]] = []
        self._samples, self._channels = array("q"), array("q")
        self.rate = rate or 0
        good: list[int] = []
        for place in range(len(files)):
            raise_waiting()
            path = files.path(place)
            try:
                self._add(path, open_sound(path).facts, files.path(good[0]) if good else None, rate)
                good.append(place)
            except (SoundError, OSError) as cause:
                if not skip_damaged:
                    more = " (--skip-damaged leaves such files out)" if len(files) > 1 else ""
                    raise InputError(f"cannot read {path}: {reason_of(cause)}{more}") from None
                self.skipped.append((files.name(place), reason_of(cause)))
        if not good:
            raise InputError(f"no sound in {self.label} can be read: {self.skipped[0][0]}: {self.skipped[0][1]}")
        self.files = files.only(good) if self.skipped else files
        self.lengths: npt.NDArray[np.int64] = np.array(self._samples, np.int64)
        self.channels: npt.NDArray[np.int64] = np.array(self._channels, np.int64)
        if self.skipped:
            name, reason = self.skipped[0]
            number = len(self.skipped)
            lead = f"a damaged sound file in {self.label} is left out"
            if number > 1:
                lead = f"{number:,} damaged sound files in {self.label} are left out; the first"
            self.notes.append(f"{lead}: {name} ({reason})")

    def open(self, place: int) -> SoundSamples:
        """Return the samples of one file; raises SoundError or OSError."""
        samples = open_sound(self.files.path(place))
        if samples.facts != SoundFacts(self.rate, int(self.lengths[place]), int(self.channels[place])):
            raise SoundError("it has changed since it was opened first (start again)")
        return samples

    def _add(self, path: Path, facts: SoundFacts, first: Path | None, wanted: int | None) -> None:
        """Note what is known of a file; `first` is the one before it that told the rate."""
        if not facts.samples:
            raise SoundError("it has no samples")
        if wanted is not None and facts.rate != wanted:
            raise InputError(
                f"{path} has {facts.rate} samples per second, and --sample-rate is {wanted} (tfdump does not "
                f"resample: ffmpeg -i {path.name} -ar {wanted} resampled.wav)"
            )
        if first is not None and facts.rate != self.rate:
            raise InputError(
                f"{path} has {facts.rate} samples per second, and {first} has {self.rate} (resample one of them, or "
                "read them apart)"
            )
        self.rate = facts.rate
        self._samples.append(facts.samples)
        self._channels.append(facts.channels)
