"""Aligned tables that fit the terminal: columns of equal values are left out first, long names lose their middle."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from tfdump.cli.terminal import BOLD, DIM, Terminal
from tfdump.cli.text_width import lines_of, text_of_width, text_within, width

_GAP = "  "
_NARROW = 24
"""The least width of a text before other columns are left out; more where names would look alike."""

_NARROWEST = 8


@dataclass(frozen=True)
class Column:
    """A column of a table, and how it shrinks where lines are too long.

    `prefix` is removed from its texts. `dropped` is the order in which columns are left out (0 first, None never).
    `shorten` removes the middle or the end of a long text, or wraps it (in the last column only).
    """

    name: str
    dropped: int | None = None
    shorten: Literal["middle", "end", "wrap"] | None = None
    prefix: str = ""


class Styled(str):
    """The text of a cell, with a style."""

    style: str

    def __new__(cls, text: str, style: str) -> "Styled":
        """Return the text with its style, one of those of `tfdump.cli.terminal`."""
        cell = super().__new__(cls, text)
        cell.style = style
        return cell


TableRow = Sequence[str]


def aligned(
    columns: Sequence[Column], rows: Sequence[TableRow], right: Sequence[bool], terminal: Terminal, all_in: str
) -> str:
    """Return rows as lines no longer than the terminal; `right` is True for columns that are flush right.

    A line below the table names what is left out, and says that `all_in` has all of it.
    """
    fitted = _Fitted(columns, rows, terminal)
    indices = fitted.indices
    lines = []
    for number, row in enumerate([[column.name for column in columns], *fitted.rows]):
        cells = [_cell(row[i], columns[i], fitted.widths[i], number == 0, right[i], terminal) for i in indices]
        for line in range(max(map(len, cells), default=0)):
            parts = [
                cell[line] if line < len(cell) else " " * fitted.widths[i]
                for cell, i in zip(cells, indices, strict=True)
            ]
            lines.append(_GAP.join(parts).rstrip())
    omissions = fitted.omissions
    if omissions:
        below = f"({'; '.join(omissions)}; all of it: {all_in})"
        lines += [terminal.styled(line, DIM) for line in lines_of(below, max(_NARROW, terminal.columns or 0))]
    return "\n".join(lines) + "\n"


def _cell(text: str, column: Column, columns: int, header: bool, right: bool, terminal: Terminal) -> list[str]:
    """Return the lines of a cell, each as wide as its column."""
    styles = [BOLD] if header else [text.style] if isinstance(text, Styled) else []
    if column.shorten == "wrap" and width(text) > columns:
        texts = list(lines_of(text, columns))
    else:
        texts = [text_within(text, columns, terminal.ellipsis, middle=column.shorten != "end")]
    cell_lines = []
    for line in texts:
        blanks = text_of_width("", columns - width(line))
        styled = terminal.styled(line, *styles)
        cell_lines.append(blanks + styled if right else styled + blanks)
    return cell_lines


def _without(text: str, prefix: str) -> str:
    rest = text.removeprefix(prefix)
    return Styled(rest, text.style) if isinstance(text, Styled) else rest


class _Fitted:
    """The columns of a table that are shown, the width of each, and what is left out."""

    def __init__(self, columns: Sequence[Column], rows: Sequence[TableRow], terminal: Terminal) -> None:
        self.rows = rows
        self._columns, self._ellipsis = columns, terminal.ellipsis
        self.widths = self._measured()
        self.indices = list(range(len(columns)))
        self._equal: list[int] = []
        self._left_out: list[int] = []
        if terminal.columns is not None and self._total(self.widths) > terminal.columns:
            self.rows = [[_without(text, c.prefix) for text, c in zip(row, columns, strict=True)] for row in rows]
            self.widths = self._measured()
            self._fit(terminal.columns)

    @property
    def omissions(self) -> list[str]:
        """The parts of the line that names what is left out."""
        natural = self._measured()
        names = [self._columns[i].name for i in sorted(self._left_out)]
        equal = [f"{self._columns[i].name} {self.rows[0][i]}" for i in sorted(self._equal)]
        short = [
            self._columns[i].name
            for i in self.indices
            if self.widths[i] < natural[i] and self._columns[i].shorten != "wrap"
        ]
        omissions = (("left out", names), ("in every row", equal), ("shortened", short))
        return [f"{word}: {', '.join(parts)}" for word, parts in omissions if parts]

    def _measured(self) -> list[int]:
        return [
            max([width(column.name), *(width(row[i]) for row in self.rows)]) for i, column in enumerate(self._columns)
        ]

    def _total(self, widths: Sequence[int]) -> int:
        return sum(widths[i] for i in self.indices) + len(_GAP) * (len(self.indices) - 1)

    def _fit(self, most: int) -> None:
        """Leave out columns until the others fit, and share the remaining room among the texts.

        A column of equal values is left out before a text is shortened; other columns only where the shortest texts
        do not fit.
        """
        flexible = [i for i in self.indices if self._columns[i].shorten]
        narrow = list(self.widths)
        for i in flexible:
            narrow[i] = min(self.widths[i], max(_NARROW, self._distinct(i, 2 * most // 3)))
        candidates = [i for i in self.indices if self._columns[i].dropped is not None]
        candidates.sort(key=lambda i: (not self._says_nothing(i), self._columns[i].dropped))
        for i in candidates:
            if self._total(self.widths if self._says_nothing(i) else narrow) <= most:
                break
            self.indices.remove(i)
            (self._equal if self._says_nothing(i) else self._left_out).append(i)
        flexible = [i for i in flexible if i in self.indices]
        while self._total(narrow) > most and any(narrow[i] > _NARROWEST for i in flexible):
            narrow[max(flexible, key=lambda i: narrow[i])] -= 1
        for i in sorted(flexible, key=lambda i: self._columns[i].shorten != "middle"):
            narrow[i] = min(self.widths[i], narrow[i] + max(0, most - self._total(narrow)))
        self.widths = narrow

    def _says_nothing(self, i: int) -> bool:
        """Return whether a column has the same value in every row."""
        return len(self.rows) > 1 and len({row[i] for row in self.rows}) == 1

    def _distinct(self, i: int, most: int) -> int:
        """Return the least width at which the shortened names of a column differ."""
        if self._columns[i].shorten != "middle":
            return 0
        names = {row[i] for row in self.rows}
        for columns in range(_NARROW, most, 2):
            if len({text_within(name, columns, self._ellipsis) for name in names}) == len(names):
                return columns
        return most
