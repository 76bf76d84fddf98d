"""How data that is not arrays becomes arrays: images, tables, records, text, sound and random numbers."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from tfdump.inputs.preset_texts import OpenPreset

Resize = Literal["stretch", "crop", "pad"]
"""How an image gets another size: all of it, its middle, or all of it between margins."""


@dataclass(frozen=True)
class DataLibraries:
    """What reading data needs of libraries that only `tfdump.model` may import: each is imported when it is called.

    Attributes
    ----------
    text_preset : callable, optional
        Opens a keras-hub preset that tokenizes text; without it, no preset is read.
    """

    text_preset: OpenPreset | None = None


@dataclass(frozen=True)
class DataOptions:
    """How data that is not arrays becomes arrays; None where the model or the data decides.

    Attributes
    ----------
    image_size : tuple of int, optional
        Height and width of images, in pixels.
    resize : {'stretch', 'crop', 'pad'}
        How an image gets this size.
    interpolation : str
        How pixels between those of an image are computed; a name that Keras knows.
    decoder : {'tensorflow', 'pillow'}
        What decodes and resizes images: TensorFlow as `keras.utils.image_dataset_from_directory` uses it, or Pillow as
        `keras.utils.load_img` uses it.
    exif : bool
        Whether images are turned as their EXIF orientation says.
    skip_damaged : bool
        Whether data that cannot be decoded is left out.
    features : Path, optional
        A JSON file that tells the features of records.
    id_column : str, optional
        The column of a table that names the examples.
    preset : Path, optional
        The folder of a keras-hub preset, whose tokenizer reads text.
    sample_rate : int, optional
        Samples per second that sound must have.
    window, hop : float, optional
        Length of the pieces of sound, and from the start of one to that of the next, in seconds.
    random : int, optional
        Number of random examples, which take the place of data.
    seed : int
        Seed of random examples.
    open_size : int, optional
        Size of random examples along axes that the model leaves open.
    function : str, optional
        A function of the user's that returns data: `FILE.py:NAME`.
    libraries : DataLibraries
        What reading needs of machine-learning libraries.
    """

    image_size: tuple[int, int] | None = None
    resize: Resize = "stretch"
    interpolation: str = "bilinear"
    decoder: Literal["tensorflow", "pillow"] = "tensorflow"
    exif: bool = False
    skip_damaged: bool = False
    features: Path | None = None
    id_column: str | None = None
    preset: Path | None = None
    sample_rate: int | None = None
    window: float | None = None
    hop: float | None = None
    random: int | None = None
    seed: int = 0
    open_size: int | None = None
    function: str | None = None
    libraries: DataLibraries = field(default=DataLibraries(), repr=False, compare=False)


ARRAYS_ONLY = DataOptions()
"""The options where none is given."""
