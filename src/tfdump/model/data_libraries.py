"""What reading data needs of TensorFlow, which is imported when it is used. This module itself does not import it."""

from pathlib import Path

from tfdump.inputs.data_options import DataLibraries
from tfdump.inputs.preset_texts import TextPreset
from tfdump.model.backend import import_quietly


def _text_preset(folder: Path, length: int | None) -> TextPreset:
    import_quietly()
    from tfdump.model.text_preset import HubTextPreset

    return HubTextPreset(folder, length)


LIBRARIES = DataLibraries(text_preset=_text_preset)
"""The libraries of this package."""
