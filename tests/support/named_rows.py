"""Arrays in memory whose rows have names, and collections of arrays, for tests of what knows nothing of files."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from tfdump.inputs.identity import ClassLabels, ListedNames, NamedReader
from tfdump.inputs.input_array import InputArray
from tfdump.inputs.readers import ArrayReader
from tfdump.tensors import InputSpec


class NamedRows(ArrayReader, NamedReader):
    """An array whose rows have names."""

    def __init__(self, array: npt.ArrayLike, names: Sequence[str], labels: ClassLabels | None = None) -> None:
        super().__init__(array, "rows")
        self.names = ListedNames(names)
        self.labels = labels


class Columns:
    """One array for every input that has none yet, with its name as its values."""

    label = "columns"

    def arrays(self, specs: Sequence[InputSpec]) -> list[InputArray]:
        """Return the arrays."""
        return [InputArray(spec.name, ArrayReader(np.array([spec.name]), f"columns::{spec.name}")) for spec in specs]

    def targets(self) -> list[InputArray]:
        """Return one array."""
        return [InputArray(None, ArrayReader(np.arange(1), "columns::target"))]
