"""Telling which options are about a kind of data that is not among the inputs."""

from collections.abc import Iterable, Iterator

from tfdump.inputs.data_options import ARRAYS_ONLY, DataOptions
from tfdump.inputs.input_array import InputArray

_OPTIONS_OF = {
    "images": ("image_size", "resize", "interpolation", "decoder", "exif"),
    "sound": ("sample_rate", "window", "hop"),
    "TFRecord files": ("features",),
}


def options_without_data(arrays: Iterable[InputArray], options: DataOptions) -> Iterator[str]:
    """Yield a note for each kind of data that options are about and no array is of."""
    kinds = {array.kind for array in arrays}
    for kind, names in _OPTIONS_OF.items():
        differing = [name for name in names if getattr(options, name) != getattr(ARRAYS_ONLY, name)]
        if kind not in kinds and differing:
            shown = ", ".join(f"--{name.replace('_', '-')}" for name in differing)
            verb = "is" if len(differing) == 1 else "are"
            yield f"{shown} {verb} for {kind}, and no INPUT holds any (nothing is changed)"
