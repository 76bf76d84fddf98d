"""Writes figures to files: the same bytes every time, and either the whole file or none."""

import warnings
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from tfdump.dump.target import check_target, write_complete_file
from tfdump.errors import TfdumpError
from tfdump.plots.figure import DPI, plain_style

FORMATS = ("png", "svg", "pdf")

_METADATA: dict[str, dict[str, Any]] = {  # None leaves out metadata that change with the day or the version
    "png": {"Software": None},
    "svg": {"Date": None, "Creator": None},
    "pdf": {"CreationDate": None, "Producer": None, "Creator": None},
}


def check_picture(path: Path, force: bool, sources: Sequence[Path] = ()) -> Path:
    """Return the file to write; raises TfdumpError for an unknown ending, and DumpError as for a dump."""
    picture_format(path)
    return check_target(path, force, sources)


def picture_format(path: Path) -> str:
    """Return the format that the ending of a name stands for; raises TfdumpError for an unknown one."""
    ending = path.suffix[1:].lower()
    if ending not in FORMATS:
        endings = ", ".join(f".{name}" for name in FORMATS)
        raise TfdumpError(f"'{path.name}' does not end as a picture does (choose one of {endings})")
    return ending


def picture_bytes(figure: Figure, ending: str) -> bytes:
    """Return a figure as the bytes of a file of one of FORMATS."""
    stream = BytesIO()
    with plain_style(), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # characters that no font has were escaped before
        figure.savefig(stream, format=ending, dpi=DPI, metadata=_METADATA[ending])
    return stream.getvalue()


def save_picture(figure: Figure, target: Path, force: bool) -> None:
    """Write a figure to a file that `check_picture` returned."""
    write_complete_file(picture_bytes(figure, picture_format(target)), target, force)
