"""Gradients of tables row by row, for optimizers that apply the rows of a repeated id one by one."""

import numpy as np

from tfdump.tensors import Sparse


class LookupRows:
    """The rows of the gradients of all tables, for all batches of a step, in at most `most_bytes`.

    The optimizers of Keras apply the gradient of a lookup (`tf.IndexedSlices`) as it is: an id that repeats has several
    rows, and Adam, for instance, squares each row and not their sum. `summed` has the addresses of the tables whose
    rows take more than `most_bytes`, so that only their sum is available, with the bytes of their rows in one step.
    """

    def __init__(self, most_bytes: int) -> None:
        self.summed: dict[str, int] = {}
        self._left = most_bytes
        self._rows: dict[str, list[Sparse]] = {}
        self._dense: set[str] = set()
        self._counted: set[str] = set()

    def add(self, address: str, value: Sparse) -> None:
        """Add the rows of a table in one batch."""
        if address in self.summed:
            self.summed[address] += value.nbytes if address not in self._counted else 0
            return
        rows = self._rows.setdefault(address, [])
        rows.append(value)
        self._left -= value.nbytes
        if self._left < 0:
            self.summed[address] = self._drop(address)

    def add_dense(self, address: str) -> None:
        """Note that a table has a gradient for all rows too, which makes the sum dense, as in Keras."""
        self._dense.add(address)

    def take(self, address: str) -> Sparse | None:
        """Return all rows of a table in the order of the examples, and forget them; None where the sum is needed.

        A table that a step did not look up has no rows, so None.
        """
        rows = self._rows.get(address, [])
        self._drop(address)
        self._counted.add(address)
        if address in self._dense or not rows:
            self._dense.discard(address)
            return None
        values, indices = (np.concatenate([getattr(row, name) for row in rows]) for name in ("values", "indices"))
        return Sparse(values, indices, rows[0].dense_shape)

    def _drop(self, address: str) -> int:
        size = sum(row.nbytes for row in self._rows.pop(address, []))
        self._left += size
        return size
