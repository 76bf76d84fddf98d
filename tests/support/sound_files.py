"""Sound files, written with NumPy and the standard library, or by soundfile."""

import wave
from pathlib import Path

import numpy as np
import numpy.typing as npt


def sound(samples: int, channels: int = 1, seed: int = 0) -> npt.NDArray[np.int16]:
    """Noise with the extremes in it, shape (samples, channels)."""
    values = np.random.default_rng(seed).integers(-(2**15), 2**15, (samples, channels)).astype(np.int16)
    values[0], values[-1] = -(2**15), 2**15 - 1
    return values


def write_wave(path: Path, values: npt.NDArray[np.int16], rate: int = 8000) -> Path:
    """Write 16-bit samples of shape (samples, channels) to a `.wav` file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(values.shape[1])
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(values.astype("<i2").tobytes())
    return path
