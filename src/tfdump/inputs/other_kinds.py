"""Data that is not NumPy's or HDF5's: what opens each kind, by the ending of its name. Its library is imported late."""

from pathlib import Path

from tfdump.inputs.data_options import DataOptions
from tfdump.inputs.input_array import InputArray, InputCollection


def open_other(
    name: str | None, path: Path, member: str | None, is_folder: bool, options: DataOptions
) -> list[InputArray]:
    """Return the arrays of a file or folder of such a kind, for the input `name` if it has one; [] for any other file.

    `member` is what follows `::` in the argument. Raises InputError where the data cannot be read.
    """
    return []


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
