"""What reads a sound file: this package itself, or soundfile."""

from pathlib import Path

from tfdump.inputs.sound.samples import SoundSamples
from tfdump.inputs.sound.wave_file import OtherEncodingError, WaveFile


def open_sound(path: Path) -> SoundSamples:
    """Return the samples of a file.

    Raises SoundError where it cannot be read, OSError where it cannot be opened, and InputError where the package is
    missing that reads it.
    """
    if path.suffix.lower() == ".wav":
        try:
            return WaveFile(path)
        except OtherEncodingError:
            pass
    from tfdump.inputs.sound.library_file import LibraryFile

    return LibraryFile(path)
