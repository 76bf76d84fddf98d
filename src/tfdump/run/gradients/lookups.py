"""The gradients of tables row by row as they come, for optimizers that treat the rows of a repeated id one by one."""

import numpy as np

from tfdump.tensors import Sparse


class LookupRows:
    """The rows of the gradients of tables, of all batches of a step, in `most_bytes` for all tables together.

    Keras's optimizers take what a lookup gives (`tf.IndexedSlices`) as it is: an id that repeats has several rows,
    which Adam and others square one by one and not as their sum. `summed` are the addresses of the tables whose rows
    were too many to keep, so that only their sum is there, and the bytes of the rows of one step.
    """

    def __init__(self, most_bytes: int) -> None:
        self.summed: dict[str, int] = {}
        self._left = most_bytes
        self._rows: dict[str, list[Sparse]] = {}
        self._dense: set[str] = set()
        self._counted: set[str] = set()

    def add(self, address: str, value: Sparse) -> None:
        """Keep the rows that one batch gives of a table."""
        if address in self.summed:
            self.summed[address] += value.nbytes if address not in self._counted else 0
            return
        rows = self._rows.setdefault(address, [])
        rows.append(value)
        self._left -= value.nbytes
        if self._left < 0:
            self.summed[address] = self._drop(address)

    def add_dense(self, address: str) -> None:
        """Note that a gradient of all rows belongs to a table too, which makes the sum dense in Keras as well."""
        self._dense.add(address)

    def take(self, address: str) -> Sparse | None:
        """Return all rows of a table in the order of the examples, and forget them; None where the sum is to be taken.

        A table that a step did not look up has none.
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
