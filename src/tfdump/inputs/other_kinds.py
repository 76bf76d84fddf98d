"""Data that is not NumPy's or HDF5's: what opens each kind, by the ending of its name. Its library is imported late."""

from pathlib import Path

from tfdump.errors import InputError
from tfdump.files.paths import check_path, exists
from tfdump.inputs.data_names import is_record_name, is_sound_name
from tfdump.inputs.data_options import DataOptions
from tfdump.inputs.file_lists import WILDCARDS, FileList, files_in_folder, files_of_pattern, has_files, single_file
from tfdump.inputs.input_array import InputArray, InputCollection


def open_other(
    name: str | None, path: Path, member: str | None, is_folder: bool, options: DataOptions
) -> list[InputArray]:
    """Return the arrays of a file or folder of such a kind, for the input `name` if it has one; [] for any other file.

    `member` is what follows `::` in the argument. Raises InputError where the data cannot be read.
    """
    if is_folder:
        return _folder(name, path, member, options)
    if is_record_name(path.name):
        check_path(path, "TFRecord file", InputError)
        return [_records(name, single_file(path), member, options)]
    if is_sound_name(path.name):
        check_path(path, "sound file", InputError)
        return [_sound(name, single_file(path), member, options)]
    return []


def _folder(name: str | None, path: Path, member: str | None, options: DataOptions) -> list[InputArray]:
    """Return the records or the sound in a folder; [] for a folder that has neither."""
    if not has_files(path, lambda file: is_record_name(file) or is_sound_name(file)):
        return []
    if has_files(path, is_record_name):
        return [_records(name, files_in_folder(path, is_record_name), member, options)]
    return [_sound(name, files_in_folder(path, is_sound_name), member, options)]


def open_several(name: str | None, text: str, member: str | None, options: DataOptions) -> list[InputArray]:
    """Return the arrays of what names several files: a pattern; [] for anything else."""
    if exists(Path(text)) or not any(wildcard in text for wildcard in WILDCARDS):
        return []
    for is_ours, opened in ((is_record_name, _records), (is_sound_name, _sound)):
        if files := files_of_pattern(text, is_ours):
            return [opened(name, files, member, options)]
    return []


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
    return None
