"""Opening a table by the ending of its name."""

from pathlib import Path

from tfdump.inputs.tables.arrow_tables import FeatherTable, ParquetTable
from tfdump.inputs.tables.csv_table import PACKED, CsvTable
from tfdump.inputs.tables.table import Table


def open_table(path: Path) -> Table:
    """Return the table in a file; raises InputError where it is damaged or has no rows."""
    ending = Path(path.name.lower().removesuffix(PACKED)).suffix
    if ending == ".parquet":
        return ParquetTable(path)
    if ending == ".feather":
        return FeatherTable(path)
    return CsvTable(path, "\t" if ending == ".tsv" else ",")
