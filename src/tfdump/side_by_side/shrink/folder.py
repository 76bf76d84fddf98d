"""The folder of a shrunk difference: what may be there already, and the move into place."""

import os
import shutil
from pathlib import Path

from tfdump.dump.target import new_mode
from tfdump.errors import DumpError
from tfdump.exports.destination import replace_folder, sibling_folder
from tfdump.side_by_side.shrink.records import README

MARK = "<!-- written by tfdump compare --shrink -->"
"""The last line of the README, by which a folder is known that may be replaced."""

_REMEDY = "(choose another with --shrink)"


def check_shrink_folder(path: Path, force: bool) -> None:
    """Raise DumpError if a folder cannot be written to `path`.

    An empty folder is filled. Another one is replaced with `force`, if `--shrink` wrote it.
    """
    target = Path(os.path.realpath(path))
    if not target.parent.is_dir():
        raise DumpError(f"output folder {path.parent} does not exist (make it first, or choose another with --shrink)")
    if not os.path.lexists(target):
        return
    if not target.is_dir():
        raise DumpError(f"output {path} is not a folder {_REMEDY}")
    if not any(target.iterdir()):
        return
    readme = target / README
    if not (readme.is_file() and readme.read_text("utf-8", "replace").rstrip().endswith(MARK)):
        raise DumpError(f"output {path} is a folder that --shrink did not write {_REMEDY}")
    if not force:
        raise DumpError(f"output {path} exists (overwrite it with -f, or choose another with --shrink)")


def move_folder(made: Path, path: Path, force: bool) -> None:
    """Copy a complete folder beside its place, and rename it; raises DumpError where that is not possible."""
    check_shrink_folder(path, force)
    target = Path(os.path.realpath(path))
    try:
        partial = sibling_folder(target)
        try:
            shutil.copytree(made, partial, dirs_exist_ok=True)
            partial.chmod(new_mode(0o777))
            replace_folder(partial, target)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    except OSError as cause:
        raise DumpError(f"cannot write {path}: {cause.strerror or cause}") from cause
