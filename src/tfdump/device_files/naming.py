"""Which tensor of a dump a file is, by its name."""

from pathlib import Path
from urllib.parse import unquote

from tfdump.dump.reader import Dump
from tfdump.dump.selection import tensor_at
from tfdump.dump.tensor import Tensor
from tfdump.errors import DumpError, InputError, near
from tfdump.exports.header import c_identifiers
from tfdump.files.paths import as_argument


def named_tensor(dump: Dump, address: str, path: Path) -> Tensor:
    """Return the tensor of an address that was given for a file; raises InputError if the dump does not have it."""
    try:
        return tensor_at(dump, address)
    except DumpError as error:
        raise InputError(f"{path.name}: {error}") from None


def tensor_of_file(dump: Dump, path: Path) -> Tensor:
    """Return the tensor that the name of a file stands for.

    The name is the address (`conv1.bin`), percent-encoded where `tfdump cat --all` does so; in a folder that is named
    as a group (`outputs/logits.bin`), the tensor of that group; the group and the address, joined by a dot
    (`outputs.logits.bin`); or an identifier of the C headers of `tfdump cat` (`activations_conv1.bin`). Raises
    InputError where the dump has no such tensor, or several.
    """
    stem = path.stem
    names = [f"{group}/{name}" for group, addresses in dump.groups.items() for name in addresses]
    for readable in (unquote(stem), stem):
        in_group = [name for name in names if name == f"{_group_of(dump, path)}/{readable}"]
        if in_group:
            return dump[in_group[0]]
        if readable in dump:
            return dump[readable]
    by_dots = [name for name in names if name.replace("/", ".") == stem]
    by_identifier = [name for name, identifier in c_identifiers(names).items() if identifier == stem]
    for matches in (by_dots, by_identifier):
        if len(matches) == 1:
            return dump[matches[0]]
    try:
        return tensor_at(dump, stem)
    except DumpError:
        close = near(stem, [name.rpartition("/")[2] for name in names])
        raise InputError(
            f"{path.name}: {dump.name} has no tensor '{stem}'{close} (say which one it is: "
            f"ADDRESS={as_argument(path.name)})"
        ) from None


def _group_of(dump: Dump, path: Path) -> str:
    """Return the longest end of the folder of a file that is a group of the dump; "" if there is none."""
    folder = path.parent.as_posix()
    groups = [group for group in dump.groups if folder == group or folder.endswith(f"/{group}")]
    return max(groups, key=len, default="")
