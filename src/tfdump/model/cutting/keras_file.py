"""Writes a Keras model to a `.keras` file that has the same bytes each time."""

import json
import zipfile
from pathlib import Path
from typing import Any

_METADATA, _DATE = "metadata.json", "date_saved"


def save_keras(model: Any, path: Path) -> None:
    """Write a model to a `.keras` file, without the time at which it is saved."""
    model.save(path)
    with zipfile.ZipFile(path) as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist()}
    metadata = json.loads(members[_METADATA])
    metadata.pop(_DATE, None)
    members[_METADATA] = json.dumps(metadata).encode()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name), data)
