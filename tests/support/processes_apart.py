"""Dumps of the same tensors, written by processes that start more than two seconds apart."""

import subprocess
import sys
import time
from pathlib import Path


def write_two_seconds_apart(script: str, folder: Path) -> Path:
    """Run a script that writes a dump, given a path and a compression, twice with each compression.

    The dumps are `first.none.h5`, `first.gzip.h5`, `second.none.h5` and `second.gzip.h5` in `folder`.
    """
    for name in ("first", "second"):
        for compression in ("none", "gzip"):
            target = folder / f"{name}.{compression}.h5"
            subprocess.run([sys.executable, "-c", script, str(target), compression], check=True)
        if name == "first":
            time.sleep(2.1)
    return folder
