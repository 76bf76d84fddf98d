"""`tfdump.merge`: one dump out of a folder of shards."""

from pathlib import Path

from tfdump.api.argument_names import errors_name_arguments
from tfdump.api.models import warn
from tfdump.argument_kinds import file_path, flag
from tfdump.dump.shards.merge import merge_shards
from tfdump.process.signals import interrupt_waiting


@errors_name_arguments()
def merge(folder: str | Path, path: str | Path, *, force: bool = False) -> Path:
    """Write a folder of shards as one dump, with the same bytes as the dump that one run would have written.

    `tfdump.open` reads the folder as it is, so this is for other programs, and for those who want one file. The memory
    that it takes depends neither on the number of shards nor on their size.

    Parameters
    ----------
    folder : str or pathlib.Path
        The folder of the shards, as `tfdump activations --shards` fills it.
    path : str or pathlib.Path
        The file to write.
    force : bool, default False
        Overwrite an existing file.

    Returns
    -------
    pathlib.Path
        The file, as it was passed.

    Raises
    ------
    DumpError
        If a shard is missing, damaged or of another run, if the file exists or cannot be written, and if the bytes of
        one run cannot be made from the shards.

    Examples
    --------
    >>> tfdump.merge("shards/", "features.h5")
    """
    target = file_path("path", path, "for example 'features.h5'")
    with interrupt_waiting():
        merge_shards(file_path("folder", folder, "for example 'shards/'"), target, flag("force", force), warn)
    return target
