"""Small file systems in memory, for tests of full disks: they need root and `mount`."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest


@contextmanager
def small_disk(folder: Path, kilobytes: int) -> Iterator[None]:
    """Mount a tmpfs of this size at `folder`, made if needed, while the body runs; PermissionError where it cannot."""
    folder.mkdir(exist_ok=True)
    if shutil.which("mount") is None or os.geteuid() != 0:
        raise PermissionError("a small tmpfs needs root and `mount`")
    command = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(folder)]
    mounted = subprocess.run(command, capture_output=True, text=True)
    if mounted.returncode:
        raise PermissionError(f"a tmpfs cannot be mounted here: {mounted.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@contextmanager
def small_disk_or_skip(folder: Path, kilobytes: int) -> Iterator[None]:
    """Do what `small_disk` does; skip the test where the file system cannot be mounted."""
    with ExitStack() as stack:
        try:
            stack.enter_context(small_disk(folder, kilobytes))
        except PermissionError as reason:
            pytest.skip(str(reason))
        yield
