"""The columns that a text takes on a terminal, and texts fitted to a number of columns."""

import unicodedata
from collections.abc import Iterable, Iterator


def width(text: str) -> int:
    """Return the columns that a text takes: two for wide (East Asian) characters, none for combining ones."""
    return len(text) if text.isascii() else sum(map(_columns, text))


def text_of_width(text: str, columns: int, right: bool = False) -> str:
    """Return a text with blanks after it, or before it to be flush right."""
    blanks = " " * (columns - width(text))
    return blanks + text if right else text + blanks


def text_within(text: str, columns: int, ellipsis: str, middle: bool = True) -> str:
    """Return a text of at most `columns` columns; an ellipsis replaces its middle, or its end."""
    if width(text) <= columns:
        return text
    room = columns - width(ellipsis)
    if room <= 0:
        return ellipsis[:columns]
    if not middle:
        return _leading(text, room).rstrip() + ellipsis
    end = _leading(reversed(text), room // 2)[::-1]
    while end and not _columns(end[0]):  # a combining character would change the ellipsis
        end = end[1:]
    return _leading(text, room - room // 2) + ellipsis + end


def lines_of(text: str, columns: int) -> Iterator[str]:
    """Yield a text in lines of at most `columns` columns, broken at blanks where a line has one."""
    while width(text) > columns:
        line = _leading(text, columns)
        if text[len(line)] != " " and " " in line.strip():
            line = line[: line.rindex(" ")]
        line = line or text[:1]
        yield line.rstrip()
        text = text[len(line) :].lstrip()
    yield text


def _leading(text: Iterable[str], room: int) -> str:
    """Return the first characters that fit into `room` columns."""
    characters = []
    for character in text:
        room -= _columns(character)
        if room < 0:
            break
        characters.append(character)
    return "".join(characters)


def _columns(character: str) -> int:
    if unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
