"""Data that is not NumPy's or HDF5's: what opens each kind, by the ending of its name. Its library is imported late."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from tfdump.errors import InputError
from tfdump.files.paths import check_path, exists
from tfdump.inputs.archive_members import members_of
from tfdump.inputs.data_options import DataOptions
from tfdump.inputs.images.headers import is_image_name
from tfdump.inputs.input_array import InputArray, InputCollection
from tfdump.inputs.preset_texts import PresetTexts
from tfdump.inputs.ragged import join_ragged
from tfdump.inputs.readers import Reader
from tfdump.tensors import InputSpec

if TYPE_CHECKING:
    from tfdump.inputs.images.listing import ImageFiles

_ANY_TEXT = InputSpec("text", (None,), "string")
TABLES = (".csv", ".tsv", ".parquet", ".feather")
"""How the names of tables end."""


def open_other(
    name: str | None, path: Path, member: str | None, is_folder: bool, options: DataOptions
) -> list[InputArray]:
    """Return the arrays of a file or folder of such a kind, for the input `name` if it has one; [] for any other file.

    `member` is what follows `::` in the argument. Raises InputError where the data cannot be read.
    """
    ending = path.suffix.lower()
    if ending in TABLES and not is_folder:
        return [_table(name, path, member, options)]
    if ending == ".zarr" and is_folder:
        return _zarr(name, path, member)
    if ending in (".safetensors", ".mat") and not is_folder:
        return _archive(name, path, member)
    if ending == ".txt" and not is_folder:
        return [_text(name, path, member, options)]
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


def _table(name: str | None, path: Path, member: str | None, options: DataOptions) -> InputArray:
    from tfdump.inputs.tables.open_table import open_table
    from tfdump.inputs.tables.table_collection import TableCollection

    _check_file(path, "table")
    table = InputCollection(name, TableCollection(open_table(path), member, options.id_column))
    return _with_preset(name, table, lambda: table.for_inputs([_ANY_TEXT])[0].reader, options)


def _text(name: str | None, path: Path, member: str | None, options: DataOptions) -> InputArray:
    from tfdump.inputs.text_lines import TextLines

    if member:
        raise InputError(f"{path} is text, and has no '{member}' inside (leave '::{member}' out)")
    check_path(path, "text file", InputError)
    lines = TextLines(path)
    return _with_preset(name, InputArray(name, lines), lambda: lines, options)


def _with_preset(name: str | None, array: InputArray, texts: Callable[[], Reader], options: DataOptions) -> InputArray:
    """Return text as what a preset makes of it, where the options name one."""
    folder, open_preset = options.preset, options.libraries.text_preset
    if folder is None or open_preset is None:
        return array
    return InputCollection(name, PresetTexts(array, texts, partial(open_preset, folder)))


def _archive(name: str | None, path: Path, member: str | None) -> list[InputArray]:
    _check_file(path, "file of arrays")
    if path.suffix.lower() == ".mat":
        from tfdump.inputs.archives.mat_file import open_mat

        arrays = open_mat(path)
    else:
        from tfdump.inputs.archives.safetensors_file import open_safetensors

        arrays = open_safetensors(path)
    return members_of(name, path, member, join_ragged(arrays, path))


def _zarr(name: str | None, path: Path, member: str | None) -> list[InputArray]:
    from tfdump.inputs.archives.zarr_folder import open_zarr

    arrays, only = open_zarr(path, member)
    if only is not None:
        return [InputArray(name, arrays[only], f"{path}::{member}" if member else str(path))]
    return members_of(name, path, None, join_ragged(arrays, path))


def _check_file(path: Path, what: str) -> None:
    """Raise InputError for what is no regular file, and for one without bytes."""
    check_path(path, what, InputError)
    if not path.stat().st_size:
        raise InputError(f"{path} is empty (0 bytes)")


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
