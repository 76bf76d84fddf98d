"""The columns of a table as the arrays of a model: by the names of its inputs, as one matrix, or as they are named."""

from collections.abc import Sequence

from tfdump.errors import InputError, near
from tfdump.inputs.input_array import InputArray
from tfdump.inputs.readers import Reader
from tfdump.inputs.tables.column_choice import InputNeeds, check_kinds, listed_names, matrix_columns
from tfdump.inputs.tables.columns_reader import ColumnNames, ColumnsReader, ListsReader, SharedBlocks
from tfdump.inputs.tables.table import Table
from tfdump.tensors import InputSpec

_ALL_BUT = "-"


class TableCollection:
    """A table, whose columns become arrays when the inputs of the model are known.

    `member` is what follows `::` in the argument: names of columns between commas, or `-a,-b` for all columns of
    numbers but these. `id_column` names the column that has the names of the rows.
    """

    def __init__(self, table: Table, member: str | None, id_column: str | None = None) -> None:
        self._table = table
        self._id_column = id_column
        self._names = table.names if id_column is None else ColumnNames(table, self._only(id_column))
        self._blocks = SharedBlocks(table)
        self.label = table.label if member is None else f"{table.label}::{member}"
        self._member = None if member is None else self._places_of(member)

    def targets(self) -> list[InputArray]:
        """Return nothing: no column is known to hold targets."""
        return []

    def arrays(self, specs: Sequence[InputSpec]) -> list[InputArray]:
        """Return the arrays for these inputs.

        A model whose inputs have the names of columns takes these columns. Another one has a single input, which takes
        all columns of numbers as one matrix, or the only column of text. Raises InputError where columns do not fit.
        """
        if self._member is not None:
            return [InputArray(None, self._reader(self._member, InputNeeds(specs), self._table.notes), self.label)]
        required = [spec for spec in specs if not spec.optional] or list(specs[:1])
        named = {spec.name: spec for spec in specs if self._named(spec.name) and self._fits(spec)}
        missing = [spec.name for spec in required if spec.name not in named]
        if named and not missing:
            return self._by_name(named)
        if len(required) > 1:
            raise self._no_column(missing[0])
        spec = required[0] if required else InputSpec(self.label, None, None)
        needs = InputNeeds([spec])
        places, notes = matrix_columns(self._table, needs, self._id_column)
        reader = self._reader(places, needs, [*self._table.notes, *notes])
        return [InputArray(spec.name if required else None, reader, self.label)]

    def _by_name(self, specs: dict[str, InputSpec]) -> list[InputArray]:
        """Return one array per input, from the column of its name; the first one has the notes about the table."""
        arrays: list[InputArray] = []
        for name, spec in specs.items():
            notes = () if arrays else self._table.notes
            arrays.append(InputArray(name, self._reader([self._only(name)], InputNeeds([spec]), notes)))
        return arrays

    def _reader(self, places: Sequence[int], needs: InputNeeds, notes: Sequence[str] = ()) -> Reader:
        """Return the reader of some columns; raises InputError where their cells are not what the input takes."""
        columns = [self._table.columns[place] for place in places]
        names = ",".join(column.name for column in columns)
        label = f"{self._table.label}::{names}" if len(names) < len(self.label) + 60 else self.label
        if len(places) == 1 and columns[0].kind == "list":
            return ListsReader(self._blocks, places[0], label, self._names, notes)
        as_text = needs.reads_text(self._table, places)
        check_kinds(self._table, places, as_text)
        row_shape = needs.row_shape(len(places))
        blocks = self._blocks if self._blocks.allows(places, as_text) else SharedBlocks(self._table)
        return ColumnsReader(blocks, places, label, self._names, as_text, needs.whole_numbers, row_shape, notes)

    def _places_of(self, member: str) -> list[int]:
        if self._named(member):
            return [self._only(member)]
        names = [name.strip() for name in member.split(",")]
        if all(name.startswith(_ALL_BUT) and not self._named(name) for name in names):
            without = {self._only(name.removeprefix(_ALL_BUT)) for name in names}
            numbers = [place for place, column in enumerate(self._table.columns) if column.kind == "number"]
            if not (others := [place for place in numbers if place not in without]):
                raise InputError(f"{self.label} leaves out all columns of numbers ({listed_names(self._table)})")
            return others
        return [self._only(name) for name in names]

    def _named(self, name: str) -> list[int]:
        return [place for place, column in enumerate(self._table.columns) if column.name == name]

    def _only(self, name: str) -> int:
        places = self._named(name)
        if not places:
            raise self._no_column(name)
        if len(places) > 1:
            raise InputError(f"{self._table.label} has {len(places)} columns '{name}' (give them different names)")
        return places[0]

    def _fits(self, spec: InputSpec) -> bool:
        """Tell whether a single column can be this input."""
        if spec.shape is None or len(spec.shape) < 2:
            return True
        lists = self._table.columns[self._named(spec.name)[0]].kind == "list"
        return len(spec.shape) == 2 and (lists or spec.shape[1] == 1)

    def _no_column(self, name: str) -> InputError:
        names = [column.name for column in self._table.columns]
        return InputError(
            f"{self._table.label} has no column '{name}'{near(name, names)} (its columns: {listed_names(self._table)})"
        )
