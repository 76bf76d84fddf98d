"""Whether the rows of two inputs that both have names are of the same examples: rows go together by their order."""

import re
from collections.abc import Iterator, Sequence

from tfdump.inputs.identity import ExampleNames, NamedReader, NumberedNames, remarks_of
from tfdump.inputs.readers import Reader

_BLOCK = 1 << 16
"""Names that are in memory at once."""

_ENDING = re.compile(r"(?<=.)\.[A-Za-z0-9]+$")

_FORMS = 4
"""How many forms of a name are compared."""

_Ways = dict[tuple[int, int], int]


def remarks_on_rows(readers: Sequence[Reader], start: int, stop: int) -> Iterator[str]:
    """Yield the notes of some readers about these rows, and those about rows of different names that go together."""
    for reader in readers:
        yield from remarks_of(reader, start, stop)
    named = [(reader.label, reader.names) for reader in readers if isinstance(reader, NamedReader)]
    comparable = [(label, names) for label, names in named if names and not isinstance(names, NumberedNames)]
    for label, names in comparable[1:]:
        first_label, first = comparable[0]
        if names != first and (difference := first_unequal_names(first, names, start, stop)) is not None:
            row, one, other = difference
            yield (
                f"the rows of {first_label} and {label} go together by their order, and their names differ, first in "
                f"example {row}: '{one}' and '{other}' (sort both alike)"
            )


def first_unequal_names(one: ExampleNames, other: ExampleNames, start: int, stop: int) -> tuple[int, str, str] | None:
    """Return the first row in which names of one kind differ, with both names.

    Names agree where one form of the first equals one form of the second in every row. The forms are the whole name,
    its path below the first folder, its last part, and that without its ending. Names are of one kind where, in some
    form, at least half of the names of each side are on the other side too. The result is None where names agree, and
    where they are of different kinds.
    """
    first_of: _Ways = {}
    ways = [(mine, yours) for mine in range(_FORMS) for yours in range(_FORMS)]
    for block in range(start, stop, _BLOCK):
        end = min(block + _BLOCK, stop)
        pair = _columns(one.read(block, end)), _columns(other.read(block, end))
        for way in ways:
            row = _first_unequal(pair[0][way[0]], pair[1][way[1]])
            if row is not None:
                first_of[way] = block + row
        ways = [way for way in ways if way not in first_of]
        if not ways:
            break
    else:
        return None
    end = min(start + _BLOCK, stop)
    mine, yours = ([set(column) for column in _columns(names.read(start, end))] for names in (one, other))
    shared = {way: len(mine[way[0]] & yours[way[1]]) for way in first_of}
    alike = [way for way in first_of if 2 * shared[way] >= max(len(mine[way[0]]), len(yours[way[1]]))]
    if not alike:
        return None
    row = first_of[max(alike, key=lambda way: (shared[way], first_of[way]))]
    return row, one.read(row, row + 1)[0], other.read(row, row + 1)[0]


def _columns(names: Sequence[str]) -> list[list[str]]:
    """Return every form of some names, a list per form."""
    below = [name.partition("/")[2] or name for name in names]
    last = [name.rpartition("/")[2] or name for name in names]
    return [list(names), below, last, [_ENDING.sub("", name) for name in last]]


def _first_unequal(one: Sequence[str], other: Sequence[str]) -> int | None:
    return next((row for row, (mine, yours) in enumerate(zip(one, other, strict=True)) if mine != yours), None)
