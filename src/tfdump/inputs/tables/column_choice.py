"""Which columns of a table are one input of a model, and whether their cells are what the input takes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tfdump.dtypes import STRING, kind_of
from tfdump.errors import InputError
from tfdump.inputs.tables.table import Table
from tfdump.tensors import InputSpec

_ID_NAMES = frozenset({"", "id", "index", "idx", "key", "uuid", "unnamed: 0", "__index_level_0__"})
"""Names of columns that number the rows, in lower case; `pandas.DataFrame.to_csv` writes one without a name."""

_MOST_NAMES = 12


@dataclass(frozen=True)
class InputNeeds:
    """What the inputs take that some columns can be for: one input, or any of several."""

    specs: Sequence[InputSpec]

    @property
    def text(self) -> bool:
        """Whether they take text alone."""
        return bool(self.specs) and all(spec.dtype == STRING for spec in self.specs)

    @property
    def numbers(self) -> bool:
        """Whether they take numbers alone."""
        return bool(self.specs) and all(spec.dtype not in (None, STRING) for spec in self.specs)

    @property
    def whole_numbers(self) -> bool:
        """Whether they take integers or booleans alone, among which there is no NaN."""
        return self.numbers and all(kind_of(spec.dtype or "") in "iub" for spec in self.specs)

    @property
    def name(self) -> str:
        """The name of the input."""
        return self.specs[0].name

    @property
    def shape(self) -> tuple[int | None, ...] | None:
        """The shape of a row of the only input; None where it is not declared."""
        shape = (self.specs[0].shape or self.specs[0].built) if len(self.specs) == 1 else None
        return None if shape is None else shape[1:]

    @property
    def columns(self) -> int | None:
        """How many columns of numbers a row has; None where that is open."""
        if self.shape is None or None in self.shape:
            return None
        return math.prod(size or 0 for size in self.shape)

    def row_shape(self, columns: int) -> tuple[int, ...] | None:
        """Return the shape of a row of the input, where it has more than one axis and as many numbers as columns."""
        if self.shape is None or len(self.shape) < 2 or self.columns != columns:
            return None
        return tuple(size or 0 for size in self.shape)

    def reads_text(self, table: Table, places: Sequence[int]) -> bool:
        """Tell whether columns are read as text: for text, or where the input takes anything and they hold text.

        The cells of a file without types are text if an input takes it, also those that look like numbers.
        """
        kinds = {table.columns[place].kind for place in places}
        if self.text:
            return not table.typed or kinds == {"text"}
        return kinds == {"text"} and not self.numbers


def matrix_columns(table: Table, needs: InputNeeds, id_column: str | None = None) -> tuple[list[int], list[str]]:
    """Return the columns that are the only input of a model together, and notes about the ones that are left out.

    These are all columns of numbers, without those that number the rows by their names, unless the input takes as many
    columns as there are with them; for an input of text, the columns of text. Raises InputError where they are too
    few or too many.
    """
    kind = "text" if needs.text else "number"
    usable = [place for place, column in enumerate(table.columns) if column.kind == kind]
    lists = [place for place, column in enumerate(table.columns) if column.kind == "list"]
    if not usable and len(lists) == 1 and not needs.text:
        return lists, _left_out(table, lists)
    plain = [place for place in usable if not _numbers_rows(table.columns[place].name, id_column)]
    if needs.columns is None:
        places = plain or usable
    else:
        places = next((some for some in (plain, usable) if len(some) == needs.columns), [])
    if not places:
        raise _wrong_columns(table, needs, usable)
    notes = _left_out(table, places)
    if (row := needs.row_shape(len(places))) is not None:
        notes.append(f"the {len(places)} columns of {table.label} are read as {row} for the input '{needs.name}'")
    return places, notes


def check_kinds(table: Table, places: Sequence[int], as_text: bool) -> None:
    """Raise InputError where a column that is not read as text holds no numbers; names a cell where it can."""
    for place in places:
        column = table.columns[place]
        label = f"{table.label}::{column.name}"
        if as_text:
            continue
        if column.kind == "text":
            if (cell := table.text_in_numbers(place)) is not None:
                raise InputError(f"{label}: {cell[0]!r} in {cell[1]} is no number (mend the cell, or empty it)")
            raise InputError(f"{label} holds text, and numbers are needed here")
        if column.kind == "list":
            raise InputError(f"{label} holds {column.words}, which are no numbers of a matrix (take it alone)")
        if column.kind == "other":
            raise InputError(f"{label} is {column.words}, which are neither numbers nor text")


def listed_names(table: Table, places: Sequence[int] | None = None) -> str:
    """Return the names of columns for a message, at most a dozen of them."""
    columns = table.columns if places is None else [table.columns[place] for place in places]
    names = ", ".join(f"'{column.name}'" for column in columns[:_MOST_NAMES])
    more = len(columns) - _MOST_NAMES
    return f"{names} and {more} more" if more > 0 else names


def _numbers_rows(name: str, id_column: str | None) -> bool:
    """Tell whether a column numbers the rows, by its name: `id`, `user_id`, `PassengerId`, or the one that is given."""
    return (
        name == id_column
        or name.casefold() in _ID_NAMES
        or name.casefold().endswith("_id")
        or name.endswith(("Id", "ID"))
    )


def _left_out(table: Table, places: Sequence[int]) -> list[str]:
    """Return a note about the columns that are not read."""
    others = [place for place in range(len(table.columns)) if place not in set(places)]
    if not others:
        return []
    ids = [place for place in others if table.columns[place].kind == "number"]
    parts = []
    if rest := [place for place in others if place not in ids]:
        kinds = {table.columns[place].words for place in rest}
        parts.append(f"{listed_names(table, rest)} ({', '.join(sorted(kinds))})")
    if ids:
        parts.append(f"{listed_names(table, ids)} (by {'its name an id' if len(ids) == 1 else 'their names ids'})")
    return [f"columns of {table.label} that are not read: {'; '.join(parts)}"]


def _wrong_columns(table: Table, needs: InputNeeds, usable: Sequence[int]) -> InputError:
    kind = "text" if needs.text else "numbers"
    have = f"{len(usable)} column{'s' * (len(usable) != 1)} of {kind}" if usable else f"no column of {kind}"
    takes = (
        f"the input '{needs.name}' takes {needs.columns}" if needs.columns else f"the input '{needs.name}' needs some"
    )
    shown = f" ({listed_names(table, usable)})" if usable else f" (its columns: {listed_names(table)})"
    why = ""
    if not needs.text:
        cells = {
            place: table.text_in_numbers(place) for place, column in enumerate(table.columns) if column.kind == "text"
        }
        mixed = next(((place, cell) for place, cell in cells.items() if cell is not None), None)
        if mixed is not None:
            place, (text, where) = mixed
            why = f"; '{table.columns[place].name}' is text because of {text!r} in {where}"
    advice = ""
    if usable:
        first = table.columns[usable[0]].name
        advice = f" (name the columns: {table.label}::{first},..., or leave some out: {table.label}::-{first})"
    return InputError(f"{table.label} has {have}{shown}, and {takes}{why}{advice}")
