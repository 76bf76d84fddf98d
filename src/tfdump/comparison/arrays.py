"""Compares one tensor with another of the same shape and kind: numbers by a rule, text for equality."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from tfdump.comparison.blocks import blocks_of
from tfdump.comparison.elementwise import Judge
from tfdump.comparison.rule import Rule
from tfdump.comparison.verdict import Comparison
from tfdump.dump.parts import Piecewise
from tfdump.files.byte_strings import decoded_text, encoded
from tfdump.tensors import Array


def compare_arrays(pairs: Sequence[tuple[Piecewise, Piecewise]], rule: Rule) -> Comparison:
    """Compare arrays of equal shapes and kinds, which together are one tensor.

    Raises DumpError or InputError if one cannot be read.
    """
    if any(golden.is_text for golden, _ in pairs):
        return _compare_text(pairs)
    judge = Judge(rule)
    with np.errstate(all="ignore"):
        for golden, new in pairs:
            for key, old_block, new_block in blocks_of(golden, new):
                judge.add(golden, new, key, old_block, new_block)
        return judge.finish()


def _compare_text(pairs: Sequence[tuple[Piecewise, Piecewise]]) -> Comparison:
    count = failed = 0
    worst: dict[str, Any] = {}
    for golden, new in pairs:
        for key in golden.keys(golden.piece_bytes):
            old, other = np.asarray(golden.read(key), object), np.asarray(new.read(key), object)
            unlike = np.argwhere(np.asarray(_as_bytes(old) != _as_bytes(other), bool))
            count += old.size
            failed += len(unlike)
            if len(unlike) and not worst:
                at = tuple(int(axis) for axis in unlike[0])
                index = tuple(axis + piece.start for axis, piece in zip(at, key, strict=True))
                worst = {
                    "index": index,
                    "golden": decoded_text(old[at]),
                    "new": decoded_text(other[at]),
                    "part": golden.name,
                }
    return Comparison(passed=not failed, count=count, failed=failed, **worst)


def _as_bytes(values: Array) -> Array:
    """Return text as bytes, because either side may have text that is not valid UTF-8."""
    items = np.empty(values.shape, object)
    flat = items.reshape(-1)
    for position, item in enumerate(values.reshape(-1)):
        flat[position] = encoded(item)
    return items
