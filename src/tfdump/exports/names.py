"""Safe names of files and archive members for tensors; no two of them are the same to a file system."""

import hashlib
import itertools
import re
from collections.abc import Iterator

_SAFE = re.compile(r"[0-9A-Za-z_.@~+=,-]")
_DEVICES = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\.|$)", re.IGNORECASE)
_LONGEST = 180


def _percent(character: str) -> str:
    return "".join(f"%{byte:02X}" for byte in character.encode("utf-8", "surrogatepass"))


def file_name(address: str) -> str:
    """Return an address as the name of a file without its suffix; percent-decoding gives the address back.

    Everything but ASCII letters, digits and `_ . @ ~ + = , -` is percent-encoded, and so is the first letter of a name
    that is a device on Windows. A name that is too long for file systems is cut and ends in a hash of the whole name.
    """
    name = "".join(character if _SAFE.match(character) else _percent(character) for character in address)
    if _DEVICES.match(name) or name[:1] in (".", "-"):
        name = _percent(name[0]) + name[1:]
    if len(name) > _LONGEST:
        name = f"{name[:_LONGEST]}~{_hash(address)}"
    return name


class FileNames:
    """Assigns names in one folder; if names differ only in case, the capitals of one are encoded."""

    def __init__(self) -> None:
        self._used: set[str] = set()

    def take(self, address: str, part: str = "") -> str:
        """Return the name for a tensor or a part of it (`address.part`, with the dot encoded if that is used)."""
        for candidate in _candidates(address, part):
            if candidate.casefold() not in self._used:
                self._used.add(candidate.casefold())
                return candidate
        raise AssertionError("the candidates do not end")


def _candidates(address: str, part: str) -> Iterator[str]:
    name = file_name(address)
    encoded = re.sub("(?<!%)(?<!%[0-9A-F])[A-Z]", lambda match: _percent(match[0]), name)
    for dot in (".", "%2E") if part else ("",):
        yield name + dot + part
        yield encoded + dot + part
    for number in itertools.count():  # reached only by names that are made to collide
        yield f"{encoded}~{_hash(f'{address} {part} {number}')}"


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]
