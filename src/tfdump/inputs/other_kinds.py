"""Data that is not NumPy's or HDF5's: what opens each kind, by the ending of its name. Its library is imported late."""

from pathlib import Path

from tfdump.errors import InputError
from tfdump.files.paths import check_path, exists
from tfdump.inputs.data_names import is_record_name
from tfdump.inputs.data_options import DataOptions
from tfdump.inputs.file_lists import WILDCARDS, FileList, files_in_folder, files_of_pattern, has_files, one_file
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
        return [_records(name, one_file(path), member, options)]
    return []


def _folder(name: str | None, path: Path, member: str | None, options: DataOptions) -> list[InputArray]:
    """Return the records in a folder; [] for a folder that has none."""
    if has_files(path, is_record_name):
        return [_records(name, files_in_folder(path, is_record_name), member, options)]
    return []


def open_several(name: str | None, text: str, member: str | None, options: DataOptions) -> list[InputArray]:
    """Return the arrays of what names several files: a pattern; [] for anything else."""
    if exists(Path(text)) or not any(wildcard in text for wildcard in WILDCARDS):
        return []
    files = files_of_pattern(text, is_record_name)
    return [_records(name, files, member, options)] if files else []


def _records(name: str | None, files: FileList, member: str | None, options: DataOptions) -> InputArray:
    from tfdump.inputs.records.collection import RecordCollection

    return InputCollection(name, RecordCollection(files, member, options))


def open_without_files(options: DataOptions) -> tuple[str, list[InputArray]] | None:
    """Return data that needs no file, with what it is called in messages; None where the options name none."""
    return None
