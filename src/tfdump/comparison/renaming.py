"""Maps of golden names to new names: which entries concern a tensor, and files that hold such maps."""

import json
from collections.abc import Mapping
from pathlib import Path

from tfdump.comparison.plain_arrays import Item
from tfdump.dump.attributes import full_name
from tfdump.errors import InputError
from tfdump.files.paths import check_path


def translations(item: Item, renamed: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return the entries of the map that concern an item, the longest first, each with the new name of the item."""
    entries = []
    for own in (full_name(item), item.address):
        for old, name in renamed.items():
            if own == old:
                entries.append((old, name))
            elif own.startswith(old) and own[len(old)] in ".:@":
                entries.append((old, name + own[len(old) :]))
    return sorted(entries, key=lambda entry: -len(entry[0]))


def answers(item: Item, name: str, group: str) -> bool:
    """Tell whether an item has a name that was given for a tensor of a group."""
    if full_name(item) == name:
        return True
    return item.address == name and (not item.group or not group or item.group == group)


def read_map(path: Path) -> dict[str, str]:
    """Read a map of golden names to new names: a JSON object, or lines of two names with a tab between them.

    Empty lines and lines that begin with `#` are ignored. Raises InputError if the file is neither.
    """
    check_path(path, "file", InputError)
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeError) as cause:
        raise InputError(f"cannot read {path}: {getattr(cause, 'strerror', None) or cause}") from None
    if text.lstrip().startswith("{"):
        try:
            names = json.loads(text)
        except (ValueError, RecursionError) as cause:
            raise InputError(f"{path} is not a JSON object: {cause}") from None
        if not all(isinstance(name, str) for name in names.values()):
            raise InputError(f'{path} maps a name to something that is not a name (write {{"golden": "new"}})')
        return dict(names)
    pairs: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        row = line.split("\t")
        if len(row) != 2 or not all(row):
            raise InputError(f"{path}, line {number} is not two names with a tab between them")
        if row[0] in pairs:
            raise InputError(f"{path}, line {number} maps '{row[0]}' a second time")
        pairs[row[0]] = row[1]
    return pairs
