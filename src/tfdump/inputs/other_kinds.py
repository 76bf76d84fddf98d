"""Data that is not NumPy's or HDF5's: what opens each kind, by the ending of its name. Its library is imported late."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from tfdump.errors import InputError
from tfdump.files.paths import check_path, exists
from tfdump.inputs.archive_members import members_of
from tfdump.inputs.data_names import is_record_name, is_sound_name
from tfdump.inputs.data_options import DataOptions
from tfdump.inputs.file_lists import WILDCARDS, FileList, files_in_folder, files_of_pattern, has_files, single_file
from tfdump.inputs.images.headers import is_image_name
from tfdump.inputs.input_array import InputArray, InputCollection
from tfdump.inputs.preset_texts import PresetTexts
from tfdump.inputs.ragged import join_ragged
from tfdump.inputs.readers import Reader
from tfdump.tensors import InputSpec

if TYPE_CHECKING:
    from tfdump.inputs.images.listing import ImageFiles

_ANY_TEXT = InputSpec("text", (None,), "string")
_RECORDS, _SOUND = "TFRecord files", "sound"
_KINDS_IN_FOLDERS = {"images": is_image_name, _RECORDS: is_record_name, _SOUND: is_sound_name}
"""What a folder of files may hold, one of them alone."""

TABLES = (".csv", ".tsv", ".parquet", ".feather", ".csv.gz", ".tsv.gz")
"""How the names of tables end."""


def open_other(
    name: str | None, path: Path, member: str | None, is_folder: bool, options: DataOptions
) -> list[InputArray]:
    """Return the arrays of a file or folder of such a kind, for the input `name` if it has one; [] for any other file.

    `member` is what follows `::` in the argument. Raises InputError where the data cannot be read.
    """
    if is_folder:
        return _folder(name, path, member, options)
    for is_kind, opened in _KINDS:
        if is_kind(path.name):
            return opened(name, path, member, options)
    return []


def open_several(name: str | None, text: str, member: str | None, options: DataOptions) -> list[InputArray]:
    """Return the arrays of what names several files: a pattern, or `@` and a list of files; [] for anything else."""
    if exists(Path(text)):
        return []
    is_pattern, has_images = (
        any(wildcard in text for wildcard in WILDCARDS),
        options.libraries.image_decoder is not None,
    )
    if text.startswith("@") and has_images:
        from tfdump.inputs.images.listing import images_in_list

        path = Path(text[1:])
        check_path(path, "list of files", InputError)
        return _images(name, lambda: images_in_list(path, options.skip_damaged), options)
    for is_ours, opened in ((is_record_name, _records), (is_sound_name, _sound)) if is_pattern else ():
        if files := files_of_pattern(text, is_ours):
            return [opened(name, files, member, options)]
    if is_pattern and has_images:
        from tfdump.inputs.images.listing import images_of_pattern

        return _images(name, lambda: images_of_pattern(text), options)
    return []


def _images(name: str | None, files: "Callable[[], ImageFiles]", options: DataOptions) -> list[InputArray]:
    from tfdump.inputs.images.collection import ImageCollection

    return [InputCollection(name, ImageCollection(files(), options))]


def _record_file(name: str | None, path: Path, member: str | None, options: DataOptions) -> list[InputArray]:
    check_path(path, "TFRecord file", InputError)
    return [_records(name, single_file(path), member, options)]


def _sound_file(name: str | None, path: Path, member: str | None, options: DataOptions) -> list[InputArray]:
    check_path(path, "sound file", InputError)
    return [_sound(name, single_file(path), member, options)]


def _image_files(name: str | None, path: Path, member: str | None, options: DataOptions) -> list[InputArray]:
    """Return the images in a folder, or one image; [] where nothing decodes images."""
    if options.libraries.image_decoder is None:
        return []
    if member:
        raise InputError(f"{path} holds images, and no '{member}' inside (leave '::{member}' out)")
    from tfdump.inputs.images.listing import image_file, images_in_folder

    if path.is_dir():
        return _images(name, lambda: images_in_folder(path), options)
    check_path(path, "image", InputError)
    return _images(name, lambda: image_file(path), options)


def _table(name: str | None, path: Path, member: str | None, options: DataOptions) -> list[InputArray]:
    from tfdump.inputs.tables.open_table import open_table
    from tfdump.inputs.tables.table_collection import TableCollection

    _check_file(path, "table")
    table = InputCollection(name, TableCollection(open_table(path), member, options.id_column))
    return [_with_preset(name, table, lambda: table.for_inputs([_ANY_TEXT])[0].reader, options)]


def _text(name: str | None, path: Path, member: str | None, options: DataOptions) -> list[InputArray]:
    from tfdump.inputs.text_lines import TextLines

    if member:
        raise InputError(f"{path} is text, and has no '{member}' inside (leave '::{member}' out)")
    check_path(path, "text file", InputError)
    lines = TextLines(path)
    return [_with_preset(name, InputArray(name, lines), lambda: lines, options)]


def _with_preset(name: str | None, array: InputArray, texts: Callable[[], Reader], options: DataOptions) -> InputArray:
    """Return text as what a preset makes of it, where the options name one."""
    folder, open_preset = options.preset, options.libraries.text_preset
    if folder is None or open_preset is None:
        return array
    return InputCollection(name, PresetTexts(array, texts, partial(open_preset, folder)))


def _archive(name: str | None, path: Path, member: str | None, options: DataOptions) -> list[InputArray]:
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


def _folder(name: str | None, path: Path, member: str | None, options: DataOptions) -> list[InputArray]:
    """Return the records, the sound or the images in a folder, or the arrays of a Zarr folder."""
    if path.suffix.lower() == ".zarr":
        return _zarr(name, path, member)
    kinds = [kind for kind, is_kind in _KINDS_IN_FOLDERS.items() if has_files(path, is_kind)]
    if len(kinds) > 1:
        raise InputError(
            f"{path} holds {' and '.join(kinds)} (choose the files of one kind by a pattern: '{path}/*.ENDING')"
        )
    if kinds == [_RECORDS]:
        return [_records(name, files_in_folder(path, is_record_name), member, options)]
    if kinds == [_SOUND]:
        return [_sound(name, files_in_folder(path, is_sound_name), member, options)]
    return _image_files(name, path, member, options)


def _records(name: str | None, files: FileList, member: str | None, options: DataOptions) -> InputArray:
    from tfdump.inputs.records.collection import RecordCollection

    return InputCollection(name, RecordCollection(files, member, options))


def _sound(name: str | None, files: FileList, member: str | None, options: DataOptions) -> InputArray:
    from tfdump.inputs.sound.collection import SoundCollection

    if member:
        raise InputError(f"{files.label} is sound, and has no '{member}' inside (leave '::{member}' out)")
    return InputCollection(name, SoundCollection(files, options))


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


def _ends_with(*endings: str) -> Callable[[str], bool]:
    return lambda name: name.lower().endswith(endings)


_KINDS = (
    (_ends_with(*TABLES), _table),
    (_ends_with(".safetensors", ".mat"), _archive),
    (_ends_with(".txt"), _text),
    (is_record_name, _record_file),
    (is_sound_name, _sound_file),
    (is_image_name, _image_files),
)
"""What tells the files of a kind by their names, and what opens them."""
