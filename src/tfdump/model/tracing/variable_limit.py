"""A limit for the bytes of variables, checked before they are created: a small file may declare a huge layer."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import keras

from tfdump.byte_sizes import show_bytes
from tfdump.dtypes import numpy_dtype
from tfdump.errors import ModelError
from tfdump.files.limits import check_bytes
from tfdump.model.any_backend_internals import Variable as KerasVariable
from tfdump.model.any_backend_internals import current_path
from tfdump.model.recording.patching import replaced

_NOT_SAVED_BYTES = 64 << 20
_NOT_SAVED_SHARE = 2
"""Variables may take this many times the bytes in the file plus 64 MiB, because not all of them are saved."""


class _Meter:
    """The bytes of the variables created so far, and the error for the first one that was refused."""

    def __init__(self, limit: int | None, stored: int | None) -> None:
        self._limit = limit
        self._stored = stored
        self._total = 0
        self.refused: ModelError | None = None

    def add(self, name: Any, shape: Sequence[Any], dtype: Any) -> None:
        """Count one variable; raises ModelError when the total is too large."""
        try:
            self._check(name, shape, dtype)
        except ModelError as error:
            self.refused = self.refused or error
            raise

    def _check(self, name: Any, shape: Sequence[Any], dtype: Any) -> None:
        item = numpy_dtype(keras.backend.standardize_dtype(dtype)).itemsize
        size = math.prod(max(0, int(axis)) for axis in shape) * item
        self._total += size
        layer = current_path() or "the model"
        what = f"the variable '{name}' {tuple(shape)} of layer '{layer}' takes {show_bytes(size)}"
        stored = self._stored
        if stored is not None and self._total > _NOT_SAVED_SHARE * stored + _NOT_SAVED_BYTES:
            raise ModelError(
                f"{what}, but the file holds only {show_bytes(stored)} of weights for the model (damaged, or made "
                "to fill your memory; with --trust-model, only --max-bytes limits the memory)"
            )
        check_bytes(self._total, self._limit, f"{what}; the variables together take", ModelError)


@contextmanager
def limited_variables(limit: int | None, stored: int | None = None) -> Iterator[None]:
    """While the body runs, let Keras create variables of at most `limit` bytes, and not much more than `stored`.

    None is no limit. Raises ModelError before the memory is allocated, even if Keras catches the first error.
    """
    if limit is None and stored is None:
        yield
        return
    meter, make = _Meter(limit, stored), KerasVariable.__init__

    def counted(self: Any, initializer: Any, shape: Any = None, dtype: Any = None, *rest: Any, **options: Any) -> None:
        if shape is not None and not isinstance(shape, int):
            meter.add(options.get("name"), shape, dtype)
        make(self, initializer, shape, dtype, *rest, **options)

    try:
        with replaced(KerasVariable, "__init__", counted):
            yield
    except Exception:
        if meter.refused is not None:
            raise meter.refused from None
        raise
    if meter.refused is not None:
        raise meter.refused
