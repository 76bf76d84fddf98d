"""The samples of a sound file, whatever reads them."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class SoundFacts:
    """The samples per second of a sound file, the number of samples of each channel, and of channels."""

    rate: int
    samples: int
    channels: int


class SoundError(Exception):
    """A sound file is damaged, or of a kind that cannot be read; the message is the reason."""


class SoundSamples(Protocol):
    """The samples of one sound file, read by range; the file is open only while it is read."""

    facts: SoundFacts

    def read(self, start: int, stop: int) -> npt.NDArray[np.float32]:
        """Return the samples from `start` up to `stop` from -1 to 1, shape (stop - start, channels).

        Raises SoundError where they cannot be read, or OSError.
        """
