"""Notes about options of kinds of data that are not among the inputs."""

from tfdump.inputs.data_options import DataOptions
from tfdump.inputs.input_array import InputArray, InputCollection
from tfdump.inputs.options_without_data import options_without_data
from tfdump.inputs.readers import ArrayReader


class Images:
    """Data that says of which kind it is."""

    label = "photos"
    kind = "images"

    def arrays(self, specs: object) -> list[InputArray]:
        """Return nothing."""
        return []

    def targets(self) -> list[InputArray]:
        """Return nothing."""
        return []


OPTIONS = DataOptions(image_size=(8, 8), exif=True, window=0.5)


def test_a_note_names_the_options_of_each_kind() -> None:
    assert list(options_without_data([InputArray(None, ArrayReader([0], "x.npy"))], OPTIONS)) == [
        "--image-size, --exif are for images, and no INPUT holds any (nothing is changed)",
        "--window is for sound, and no INPUT holds any (nothing is changed)",
    ]


def test_a_note_for_python_names_the_fields() -> None:
    assert list(options_without_data([InputArray(None, ArrayReader([0], "x.npy"))], OPTIONS, in_python=True)) == [
        "image_size, exif of data are for images, and x holds none (nothing is changed)",
        "window of data is for sound, and x holds none (nothing is changed)",
    ]


def test_options_of_the_kinds_that_are_read_are_fine() -> None:
    notes = list(options_without_data([InputCollection(None, Images()).renamed("image")], OPTIONS))
    assert [note.partition(" is")[0] for note in notes] == ["--window"]
    assert not list(options_without_data([], DataOptions()))
