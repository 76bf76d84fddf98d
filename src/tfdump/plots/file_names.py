"""What a picture's file is called when nobody says: after the address. Needs no matplotlib."""

import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from tfdump.dump import layout

FLOW = "flow"
"""What asks for the picture of all layers along depth, where an address could stand."""

_LONGEST = 160
_UNSAFE = str.maketrans(dict.fromkeys(':/\\<>"|?* ', "_"))


def stem_of(group: str, address: str, kind: str | None = None) -> str:
    """Return the name of a picture without its ending: the address, after its group unless that is the activations.

    What some file systems do not take becomes `_`; a name that is too long is cut, and ends in a number made of
    all of it.
    """
    prefix = "" if group == layout.ACTIVATIONS else group.replace("/", ".") + "."
    whole = (prefix + address + (f".{kind}" if kind else "")).translate(_UNSAFE).lstrip(".-") or "_"
    if len(whole.encode()) <= _LONGEST:
        return whole
    cut = whole.encode()[: _LONGEST - 9].decode(errors="ignore")
    return f"{cut}.{zlib.crc32(whole.encode()):08x}"


def distinct(stems: Iterable[str]) -> Iterator[str]:
    """Yield names of which no two are equal, also where capital letters do not count: `a`, `a.1`, ..."""
    taken: set[str] = set()
    for stem in stems:
        name, number = stem, 0
        while name.casefold() in taken:
            number += 1
            name = f"{stem}.{number}"
        taken.add(name.casefold())
        yield name


def default_file(stem: str, ending: str) -> Path:
    """Return the file of this name in the working directory."""
    return Path(f"{stem}.{ending}")
