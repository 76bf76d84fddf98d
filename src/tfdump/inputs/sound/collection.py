"""Sound as the array of a model: mono or of several channels, whole files or pieces, as its input declares."""

from collections.abc import Sequence

import numpy as np

from tfdump.errors import InputError
from tfdump.inputs.data_options import DataOptions
from tfdump.inputs.file_lists import FileList
from tfdump.inputs.input_array import InputArray
from tfdump.inputs.readers import ArrayReader, Reader
from tfdump.inputs.sound.rows import Pieces, WholeFiles
from tfdump.inputs.sound.sound_files import SoundFiles
from tfdump.tensors import InputSpec

_MONO, _WITH_CHANNELS = 2, 3


class SoundCollection:
    """The sound files that an argument names, for one input of a model; class folders are targets."""

    kind = "sound"
    takes_one = True

    def __init__(self, files: FileList, options: DataOptions) -> None:
        self.label = files.label
        self._files = SoundFiles(files, options.sample_rate, options.skip_damaged)
        self._options = options

    def arrays(self, specs: Sequence[InputSpec]) -> list[InputArray]:
        """Return the array for the first of these inputs that takes sound by its shape, or for the first one."""
        if not specs:
            raise InputError(f"the model has no input for {self.label} besides those that have an array (leave it out)")
        spec = min(specs, key=lambda spec: (spec.shape is not None and not _is_for_sound(spec.shape), spec.optional))
        return [InputArray(spec.name, lambda: self._reader(spec), self.label)]

    def targets(self) -> list[InputArray]:
        """Return the classes of the examples as numbers, where the files are in class folders."""
        if self._files.files.labels is None:
            return []
        label = f"the class folders of {self.label}"
        return [InputArray(None, lambda: ArrayReader(self._classes(), label), label)]

    def _classes(self) -> Sequence[int]:
        labels = self._rows(None, None).labels
        return labels.values.tolist() if labels is not None else []

    def _reader(self, spec: InputSpec) -> Reader:
        shape = spec.shape or spec.built
        if shape is not None and not _takes_sound(shape):
            raise InputError(
                f"the input '{spec.name}' takes no sound: its shape is {_shown(shape)}, and that of sound is "
                "(?, samples) or (?, samples, channels)"
            )
        return self._rows(self._channels(spec, shape), spec)

    def _rows(self, channels: int | None, spec: InputSpec | None) -> WholeFiles | Pieces:
        if self._options.window is None:
            return WholeFiles(self._files, channels)
        window = self._samples("--window", self._options.window)
        hop = self._samples("--hop", self._options.hop or self._options.window)
        declared = spec.shape[1] if spec is not None and spec.shape is not None else None
        if spec is not None and declared is not None and declared != window:
            raise InputError(
                f"--window {self._options.window:g} is {window:,} samples of {self.label}, and the input "
                f"'{spec.name}' takes {declared:,} (give --window {declared / self._files.rate:g})"
            )
        return Pieces(self._files, channels, window, hop)

    def _samples(self, option: str, seconds: float) -> int:
        samples = round(seconds * self._files.rate)
        if not samples:
            raise InputError(
                f"{option} {seconds:g} is shorter than one sample of {self.label}, which has {self._files.rate} per "
                "second (give more seconds)"
            )
        return samples

    def _channels(self, spec: InputSpec, shape: tuple[int | None, ...] | None) -> int | None:
        """Return the number of channels as an axis, or None for mono sound without one; raises InputError."""
        counts, files = self._files.channels, self._files.files
        wanted = int(counts[0])
        if shape is not None:
            wanted = 1 if len(shape) == _MONO else shape[2] or wanted
        if (other := np.flatnonzero(counts != wanted)).size:
            path, count = files.path(int(other[0])), int(counts[other[0]])
            is_open = shape is None or (len(shape) == _WITH_CHANNELS and shape[2] is None)
            whose = f"{files.path(0)} has" if is_open else f"the input '{spec.name}' takes"
            raise InputError(
                f"{path} has {count} channel{'s' * (count != 1)}, and {whose} {wanted} (convert it: "
                f"ffmpeg -i {path.name} -ac {wanted} converted.wav)"
            )
        with_axis = len(shape) == _WITH_CHANNELS if shape is not None else wanted > 1
        return wanted if with_axis else None


def _takes_sound(shape: tuple[int | None, ...]) -> bool:
    return len(shape) in (_MONO, _WITH_CHANNELS)


def _is_for_sound(shape: tuple[int | None, ...]) -> bool:
    """Tell whether an input takes sound by its shape, and more than a single number."""
    return _takes_sound(shape) and shape[1] != 1


def _shown(shape: tuple[int | None, ...]) -> str:
    return "(" + ", ".join("?" if size is None else str(size) for size in shape) + ")"
