"""What holds the values that a device computed: files, named by `[ADDRESS=]FILE`, or arrays."""

import os
from dataclasses import dataclass
from pathlib import Path

from tfdump.tensors import Array


@dataclass(frozen=True)
class DeviceFile:
    """A file that a device wrote, and the address that was given for it, None if its name tells.

    An array in memory instead of a file has `values`, and its address as the path.
    """

    path: Path
    address: str | None = None
    values: Array | None = None


def parse_device_file(text: str) -> DeviceFile:
    """Read `[ADDRESS=]FILE`; a file with that whole name is meant where there is one."""
    parts = text.split("=")
    readings = [("=".join(parts[:n]), "=".join(parts[n:])) for n in range(1, len(parts))]
    if not readings or os.path.exists(text):
        return DeviceFile(Path(text))
    address, path = next((pair for pair in readings if os.path.exists(pair[1])), readings[0])
    return DeviceFile(Path(path), address)
