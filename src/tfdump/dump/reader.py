"""Opens a dump, without TensorFlow: a file, or a folder of shards."""

from pathlib import Path

from tfdump.argument_kinds import file_path
from tfdump.dump.dump_file import Dump
from tfdump.dump.other_formats import refuse_other_formats
from tfdump.dump.shards.joined_dump import open_shards
from tfdump.dump.shards.manifest import is_shard_folder
from tfdump.dump.tensor import Tensor
from tfdump.errors import DumpError
from tfdump.files.hdf5 import open_hdf5

__all__ = ["Dump", "Tensor", "open_dump"]


def open_dump(path: str | Path) -> Dump:
    """Open a dump for reading.

    Parameters
    ----------
    path : str or Path
        The dump file, or a folder of shards, which are read as one dump.

    Returns
    -------
    Dump
        The tensors by address; a context manager that closes the file.

    Raises
    ------
    DumpError
        If the file cannot be read, is not a dump, or was written by a newer version of tfdump, and if a shard of a
        folder is missing.

    Examples
    --------
    >>> with tfdump.open("dump.h5") as dump:
    ...     values = dump["encoder.dense"].read()
    """
    place = file_path("dump", path, "for example 'd.h5'")
    if is_shard_folder(place):
        return open_shards(place, str(path))
    refuse_other_formats(place)
    file = open_hdf5(place, DumpError)
    try:
        return Dump(file, str(path))
    except BaseException:
        file.close()
        raise
