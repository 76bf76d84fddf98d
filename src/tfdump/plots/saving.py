"""Figures to files: the same bytes every time, and either the whole file or none."""

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

_METADATA: dict[str, dict[str, Any]] = {  # None leaves out what changes with the day or the version
    "png": {"Software": None},
    "svg": {"Date": None, "Creator": None},
    "pdf": {"CreationDate": None, "Producer": None, "Creator": None},
}


def check_picture(path: Path, force: bool, sources: Sequence[Path] = ()) -> Path:
    """Return the file to write; raises TfdumpError for an ending that is no format, and DumpError as for a dump."""
    format_of(path)
    return check_target(path, force, sources)


def format_of(path: Path) -> str:
    """Return the format that the end of a name asks for."""
    ending = path.suffix[1:].lower()
    if ending not in FORMATS:
        raise TfdumpError(f"'{path.name}' does not end in {', '.join(f'.{name}' for name in FORMATS)}: no such picture")
    return ending


def encoded(figure: Figure, ending: str) -> bytes:
    """Return a figure as the bytes of a file of one of FORMATS."""
    stream = BytesIO()
    with plain_style(), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # characters that no font has were escaped before
        figure.savefig(stream, format=ending, dpi=DPI, metadata=_METADATA[ending])
    return stream.getvalue()


def save(figure: Figure, target: Path, force: bool) -> None:
    """Write a figure to a file that `check_picture` returned."""
    write_complete_file(encoded(figure, format_of(target)), target, force)
