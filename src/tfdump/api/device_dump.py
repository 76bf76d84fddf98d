"""`tfdump.import_dump`: the feature of the command line, for files and arrays."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tfdump.api.argument_names import errors_name_arguments
from tfdump.api.models import warn
from tfdump.argument_kinds import file_path, flag, one_of, shown
from tfdump.device_files.expected import DTYPES
from tfdump.device_files.file_names import DeviceFile
from tfdump.device_files.importing import ImportOptions, import_files
from tfdump.device_files.reading import BYTE_ORDERS, FORMATS
from tfdump.errors import TfdumpError
from tfdump.inputs.source import parse_examples
from tfdump.tensors import Array


@errors_name_arguments()
def import_dump(
    files: "Mapping[str, str | Path | Array] | Iterable[str | Path] | str | Path",
    like: str | Path,
    output: str | Path,
    *,
    format: str | None = None,
    dtype: str | None = None,
    byte_order: str = "little",
    examples: str = ":",
    force: bool = False,
) -> Path:
    """Write what a device computed as a dump, which `tfdump.diff` and `tfdump.compare` take.

    Parameters
    ----------
    files : dict, str, Path, or iterable of these
        Files or arrays by address. Files alone are named after the addresses, as `tfdump cat` names files.
    like : str or Path
        The dump with the tensors of these addresses. It tells their shapes, their dtypes and their quantization.
    output : str or Path
        The dump that is written.
    format : {'bin', 'csv', 'npy', 'text'}, optional
        The format of all files: raw values, CSV, `.npy`, or numbers as a serial console shows them. By default, the
        ending of each file tells.
    dtype : str, optional
        The dtype of the numbers in the files, such as `'float16'`. The default is that of each tensor.
    byte_order : {'little', 'big'}, default 'little'
        The order of the bytes of raw values.
    examples : str, default ':'
        The examples that the device computed, `'START:STOP'`, if these are not all of `like`.
    force : bool, default False
        Whether to overwrite `output`.

    Returns
    -------
    Path
        The dump.

    Raises
    ------
    TfdumpError
        If a file does not hold what is expected, such as another number of values, a word among the numbers, or a
        tensor that `like` does not have.

    Examples
    --------
    >>> tfdump.import_dump({"hidden": received}, like="golden.h5", output="device.h5")
    PosixPath('device.h5')
    """
    options = ImportOptions(
        one_of("dtype", dtype, DTYPES),
        one_of("byte_order", byte_order, tuple(BYTE_ORDERS)) or "little",
        one_of("format", format, FORMATS),
        parse_examples(examples),
    )
    target = file_path("output", output, "for example 'device.h5'")
    golden = file_path("like", like, "for example 'golden.h5'")
    overwrite = flag("force", force)
    import_files(_device_files(files), golden, target, options, "tfdump.import_dump", overwrite, warn)
    return target


def _device_files(files: Any) -> list[DeviceFile]:
    if isinstance(files, Mapping):
        return [_named(str(address), value) for address, value in files.items()]
    if isinstance(files, (str, Path)):
        files = [files]
    try:
        paths = list(files)
    except TypeError:
        raise TfdumpError(f"files {shown(files)} are neither files nor arrays by address") from None
    return [DeviceFile(file_path("file", path, "arrays come by address: {'conv1': array}")) for path in paths]


def _named(address: str, value: Any) -> DeviceFile:
    if isinstance(value, (str, Path)):
        return DeviceFile(Path(value), address)
    return DeviceFile(Path(address), address, np.asarray(value))
