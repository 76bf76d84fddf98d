"""The default name of a picture's file, made of the address. Needs no matplotlib."""

import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from tfdump.dump import layout

FLOW = "flow"
"""The word that stands for the picture of all layers along the depth, in the place of an address."""

_LONGEST = 160
_UNSAFE = str.maketrans(dict.fromkeys(':/\\<>"|?* ', "_"))


def stem_of(group: str, address: str, kind: str | None = None) -> str:
    """Return the name of a picture without its ending: the address, after its group unless that is the activations.

    Characters that some file systems refuse become `_`. A name that is too long is cut, and ends in the CRC-32 of
    the whole name.
    """
    prefix = "" if group == layout.ACTIVATIONS else group.replace("/", ".") + "."
    whole = (prefix + address + (f".{kind}" if kind else "")).translate(_UNSAFE).lstrip(".-") or "_"
    if len(whole.encode()) <= _LONGEST:
        return whole
    cut = whole.encode()[: _LONGEST - 9].decode(errors="ignore")
    return f"{cut}.{zlib.crc32(whole.encode()):08x}"


def distinct_names(stems: Iterable[str]) -> Iterator[str]:
    """Yield names of which no two are equal, even where case does not count: `a`, `a.1`, ..."""
    used: set[str] = set()
    for stem in stems:
        name, number = stem, 0
        while name.casefold() in used:
            number += 1
            name = f"{stem}.{number}"
        used.add(name.casefold())
        yield name


def default_file(stem: str, ending: str) -> Path:
    """Return the file of this name in the working directory."""
    return Path(f"{stem}.{ending}")
