"""Telling which options are about a kind of data that is not among the inputs."""

from collections.abc import Iterable, Iterator

from tfdump.inputs.data_options import ARRAYS_ONLY, DataOptions
from tfdump.inputs.input_array import InputArray

_OPTIONS_OF = {
    "images": ("image_size", "resize", "interpolation", "decoder", "exif"),
    "sound": ("sample_rate", "window", "hop"),
    "TFRecord files": ("features",),
}


def options_without_data(arrays: Iterable[InputArray], options: DataOptions, in_python: bool = False) -> Iterator[str]:
    """Yield a note for each kind of data that options are about and no array is of.

    It names options of the command line, or the fields of `DataOptions` with `in_python`.
    """
    kinds = {array.kind for array in arrays}
    for kind, names in _OPTIONS_OF.items():
        differing = [name for name in names if getattr(options, name) != getattr(ARRAYS_ONLY, name)]
        if kind not in kinds and differing:
            verb = "is" if len(differing) == 1 else "are"
            if in_python:
                yield f"{', '.join(differing)} of data {verb} for {kind}, and x holds none (nothing is changed)"
                continue
            shown = ", ".join(f"--{name.replace('_', '-')}" for name in differing)
            yield f"{shown} {verb} for {kind}, and no INPUT holds any (nothing is changed)"
