"""How many columns of a terminal a text takes, and shorter ones of the same text."""

import unicodedata
from collections.abc import Iterable, Iterator


def width(text: str) -> int:
    """Return the columns that a text takes: two for wide characters (East Asian), none for combining ones."""
    return len(text) if text.isascii() else sum(map(_columns, text))


def padded(text: str, columns: int, right: bool = False) -> str:
    """Return a text with blanks behind it, or before it to be flush right."""
    blanks = " " * (columns - width(text))
    return blanks + text if right else text + blanks


def shortened(text: str, columns: int, ellipsis: str, middle: bool = True) -> str:
    """Return a text of at most so many columns: what is too much is left out of its middle, or at its end."""
    if width(text) <= columns:
        return text
    room = columns - width(ellipsis)
    if room <= 0:
        return ellipsis[:columns]
    if not middle:
        return _leading(text, room).rstrip() + ellipsis
    behind = _leading(reversed(text), room // 2)[::-1]
    while behind and not _columns(behind[0]):  # a combining character would change the ellipsis
        behind = behind[1:]
    return _leading(text, room - room // 2) + ellipsis + behind


def lines_of(text: str, columns: int) -> Iterator[str]:
    """Yield a text in lines of at most so many columns, broken at blanks where a line has one."""
    while width(text) > columns:
        line = _leading(text, columns)
        if text[len(line)] != " " and " " in line.strip():
            line = line[: line.rindex(" ")]
        line = line or text[:1]
        yield line.rstrip()
        text = text[len(line) :].lstrip()
    yield text


def _leading(text: Iterable[str], room: int) -> str:
    """Return as many of the first characters as there is room for."""
    taken = []
    for character in text:
        room -= _columns(character)
        if room < 0:
            break
        taken.append(character)
    return "".join(taken)


def _columns(character: str) -> int:
    if unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
