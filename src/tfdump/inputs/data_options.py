"""How data that is not arrays becomes arrays: images, tables, records, text, sound and random numbers."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from tfdump.inputs.images.decoding import ImageDecoder, Resize
from tfdump.inputs.preprocessing import Preprocessing
from tfdump.inputs.preset_texts import OpenPreset


@dataclass(frozen=True)
class DataLibraries:
    """What reading data needs of libraries that only `tfdump.model` may import: each is imported when it is called.

    Attributes
    ----------
    image_decoder : callable, optional
        Returns TensorFlow's decoder of images; without it, no images are read.
    text_preset : callable, optional
        Opens a keras-hub preset that tokenizes text; without it, no preset is read.
    """

    image_decoder: Callable[[], ImageDecoder] | None = None
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
    function : str or callable, optional
        A function of the user's that returns data or yields batches: the function itself, or `FILE.py:FUNCTION`.
    most_examples : int, optional
        Number of examples after which data that can be read only in order ends.
    preprocess : tuple of str, callable or PreprocessingStep
        What is done with the values before the model gets them: each the name of a module of `keras.applications`,
        numbers such as `scale=1/255` or `mean=0.5;std=0.25`, `FILE.py:FUNCTION`, or a function; as text also for one
        input, `INPUT=...`.
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
    function: str | Callable[..., Any] | None = None
    most_examples: int | None = None
    preprocess: tuple[Preprocessing, ...] = ()
    libraries: DataLibraries = field(default=DataLibraries(), repr=False, compare=False)


ARRAYS_ONLY = DataOptions()
"""The options where none is given."""
