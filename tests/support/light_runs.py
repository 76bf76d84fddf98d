"""The command in environments that lack some packages, and what it imports."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from support.command import ROOT, Ended

CODE = """
import json, sys
sys.path[:0] = json.loads(sys.argv.pop(1))
from tfdump.cli import main
status = main.run(sys.argv[1:])
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})), file=sys.stderr)
sys.exit(status)
"""


def site_without(folder: Path, *packages: str) -> Path:
    """Make a folder of links to everything that is installed, except for some packages and what they were built from.

    A package is named as its module. Only then does nothing know of it: neither imports nor the metadata.
    """
    folder.mkdir()
    for entry in Path(np.__file__).parent.parent.iterdir():
        if entry.suffix != ".pth" and not entry.name.startswith(packages):
            (folder / entry.name).symlink_to(entry)
    return folder


def run_apart(words: tuple[object, ...], folder: Path, site: Path | None = None) -> tuple[Ended, set[str]]:
    """Run the command in a process of its own; return how it ended, and the packages that it imported.

    `site` is the folder of all packages, None for those that are installed.
    """
    site = site or Path(np.__file__).parent.parent
    paths = json.dumps([str(ROOT / "src"), str(site)])
    command = [sys.executable, "-I", "-S", "-c", CODE, paths, *map(str, words)]
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
    *words_on_stderr, last = done.stderr.splitlines()
    return Ended(done.returncode, done.stdout, "\n".join(words_on_stderr)), set(json.loads(last))
