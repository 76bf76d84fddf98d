"""Data that is not NumPy's or HDF5's: what opens each kind, by the ending of its name. Its library is imported late."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from tfdump.errors import InputError
from tfdump.files.paths import check_path, exists
from tfdump.inputs.data_options import DataOptions
from tfdump.inputs.images.headers import is_image_name
from tfdump.inputs.input_array import InputArray, InputCollection

if TYPE_CHECKING:
    from tfdump.inputs.images.listing import ImageFiles


def open_other(
    name: str | None, path: Path, member: str | None, is_folder: bool, options: DataOptions
) -> list[InputArray]:
    """Return the arrays of a file or folder of such a kind, for the input `name` if it has one; [] for any other file.

    `member` is what follows `::` in the argument. Raises InputError where the data cannot be read.
    """
    if (is_folder or is_image_name(path.name)) and options.libraries.image_decoder is not None:
        if member:
            raise InputError(f"{path} holds images, and no '{member}' inside (leave '::{member}' out)")
        from tfdump.inputs.images.listing import image_file, images_in_folder

        if not is_folder:
            check_path(path, "image", InputError)
        return _images(name, lambda: images_in_folder(path) if is_folder else image_file(path), options)
    return []


def open_several(name: str | None, text: str, options: DataOptions) -> list[InputArray]:
    """Return the arrays of what names several files: a pattern, or `@` and a list of files; [] for anything else."""
    if exists(Path(text)) or options.libraries.image_decoder is None:
        return []
    if text.startswith("@"):
        from tfdump.inputs.images.listing import images_in_list

        path = Path(text[1:])
        check_path(path, "list of files", InputError)
        return _images(name, lambda: images_in_list(path, options.skip_damaged), options)
    if any(wildcard in text for wildcard in "*?["):
        from tfdump.inputs.images.listing import images_of_pattern

        return _images(name, lambda: images_of_pattern(text), options)
    return []


def _images(name: str | None, files: "Callable[[], ImageFiles]", options: DataOptions) -> list[InputArray]:
    from tfdump.inputs.images.collection import ImageCollection

    return [InputCollection(name, ImageCollection(files(), options))]


def open_without_files(options: DataOptions) -> tuple[str, list[InputArray]] | None:
    """Return data that needs no file, with what it is called in messages; None where the options name none."""
    if options.random is not None:
        from tfdump.inputs.random_rows import RandomExamples

        examples = RandomExamples(options)
        return examples.label, [InputCollection(None, examples)]
    if options.function is not None:
        from tfdump.inputs.functions.data import data_of_function

        data = data_of_function(options)
        return data.label, [InputCollection(None, data)]
    return None
