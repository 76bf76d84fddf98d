"""Names of files and of archive members for tensors: safe, and no two that a file system takes for one."""

import hashlib
import re

_SAFE = re.compile(r"[0-9A-Za-z_.@~+=,-]")
_DEVICES = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\.|$)", re.IGNORECASE)
_LONGEST = 180


def _percent(character: str) -> str:
    return "".join(f"%{byte:02X}" for byte in character.encode("utf-8", "surrogatepass"))


def file_name(address: str) -> str:
    """Return an address as the name of a file without its suffix; percent-decoding gives the address back.

    Everything but ASCII letters, digits and `_ . @ ~ + = , -` is percent-encoded, so is the first letter of a name
    that means a device on Windows. What is longer than file systems take is cut, and ends in a hash of the whole.
    """
    name = "".join(character if _SAFE.match(character) else _percent(character) for character in address)
    if _DEVICES.match(name) or name[:1] in (".", "-"):
        name = _percent(name[0]) + name[1:]
    if len(name) > _LONGEST:
        name = f"{name[:_LONGEST]}~{hashlib.sha256(address.encode('utf-8', 'surrogatepass')).hexdigest()[:16]}"
    return name


class FileNames:
    """Gives out names in one folder; what differs only in small letters and capitals gets its capitals encoded."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def take(self, address: str, part: str = "") -> str:
        """Return the name for a tensor, or for a part of it (`address.part`, whose dot is encoded if that is taken)."""
        name, ending = file_name(address), f".{part}" if part else ""
        candidates = [name + ending]
        encoded = re.sub("(?<!%)(?<!%[0-9A-F])[A-Z]", lambda found: _percent(found[0]), name)
        candidates += [encoded + ending, f"{name}%2E{part}", f"{encoded}%2E{part}"]
        for candidate in candidates:
            if candidate.casefold() not in self._taken:
                break
        else:
            candidate = f"{encoded}~{hashlib.sha256(address.encode('utf-8', 'surrogatepass')).hexdigest()[:16]}{ending}"
        self._taken.add(candidate.casefold())
        return candidate
