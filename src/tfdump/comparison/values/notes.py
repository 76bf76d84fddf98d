"""Pairing by value as `diff` does it: whether it is possible, and what to know about it."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from tfdump.comparison.examples.same_examples import names_decide
from tfdump.comparison.pairing import EXACT, NEAR_VALUE, Pair
from tfdump.comparison.plain_arrays import Item
from tfdump.comparison.sides import Side
from tfdump.comparison.values.by_value import ValuePairing, pair_by_value
from tfdump.comparison.values.samples import has_comparable_values
from tfdump.dtypes import kind_of
from tfdump.dump import layout
from tfdump.errors import DumpError
from tfdump.tensors import listed


def pairs_by_value(pairs: list[Pair], golden: Side, new: Side) -> tuple[list[Pair], list[str]]:
    """Return the pairs of `pair_by_value` with notes; the pairs as they are if the sides hold different examples."""
    same = hold_same_examples(golden, new)
    if same is False:
        return pairs, [
            f"not paired by value: the inputs of {golden.name} and {new.name} differ, so that equal tensors of both "
            "have different values (dump both with the same inputs)"
        ]
    pairing = pair_by_value(pairs, golden, new)
    notes = [*_notes_on_names(pairing, new), *_notes_on_rest(pairing.pairs)]
    if same is None and any(pair.by in (EXACT, NEAR_VALUE) for pair in pairing.pairs):
        notes.append(
            "paired by value as if both sides hold the same examples, which the files do not tell (--pair names does "
            "without)"
        )
    return pairing.pairs, notes


def _notes_on_names(pairing: ValuePairing, new: Side) -> list[str]:
    notes = []
    if pairing.renamed:
        wrong = [f"{pair.new.address} is {pair.golden.address}" for pair in pairing.renamed if pair.golden and pair.new]
        notes.append(f"wrong names in {new.name}, because the values tell otherwise: {listed(wrong)}")
    if pairing.disputed:
        equal = [f"{golden} = {other}" for golden, other in pairing.disputed]
        notes.append(f"paired by their names, although the values are equal to those of others: {listed(equal)}")
    return notes


def _notes_on_rest(pairs: Sequence[Pair]) -> list[str]:
    """Return a note on the tensors without a counterpart whose values cannot tell one."""
    alone: dict[bool, list[Item]] = {True: [], False: []}
    for pair in pairs:
        if pair.golden is None or pair.new is None:
            alone[pair.new is None] += pair.items
    hidden = [item for items in alone.values() for item in items if _has_hidden_values(item)]
    if not hidden or not all(alone.values()):
        return []
    return [f"not paired by value, because only statistics or reduced values are stored: {listed(_names(hidden))}"]


def _has_hidden_values(item: Item) -> bool:
    return kind_of(item.dtype) != "S" and item.connected and item.encoding is None and not has_comparable_values(item)


def _names(items: Sequence[Item]) -> list[str]:
    return list(dict.fromkeys(item.address for item in items))


def hold_same_examples(golden: Side, new: Side) -> bool | None:
    """Tell whether both sides hold the same examples: by their names, which were compared before, or else their inputs.

    The hashes of the inputs decide, or the inputs themselves. None if the files do not tell.
    """
    if names_decide(golden, new):
        return True
    hashes = [_hashes(side) for side in (golden, new)]
    if all(one is not None for one in hashes):
        return hashes[0] == hashes[1]
    saved = [[item for item in side.items if item.group == layout.INPUTS] for side in (golden, new)]
    if not all(saved) or len(saved[0]) != len(saved[1]):
        return None
    verdicts = [_equal_inputs(old, other) for old, other in zip(*saved, strict=True)]
    return False if False in verdicts else None if None in verdicts else True


def _hashes(side: Side) -> list[str] | None:
    """Return the hashes of the inputs in any order, because two formats of a model may order them differently."""
    text = side.attributes.get(layout.INPUTS_SHA256)
    if text is None:
        return None
    try:
        hashes: Any = json.loads(text)
        return sorted(str(one) for one in hashes)
    except (TypeError, ValueError):
        raise DumpError(f"{side.name}: its attribute '{layout.INPUTS_SHA256}' is damaged") from None


def _equal_inputs(golden: Item, new: Item) -> bool | None:
    """Tell whether the first examples of two saved inputs are equal; None if they were fed in different forms."""
    if golden.shape != new.shape or golden.dtype != new.dtype or not golden.shape or golden.encoding or new.encoding:
        return None
    if not (has_comparable_values(golden) and has_comparable_values(new)):
        return None
    key = (slice(0, layout.SAMPLED_EXAMPLES), *(slice(0, size) for size in golden.shape[1:]))
    values = [item.parts()[0].read(key) for item in (golden, new)]
    return bool(np.array_equal(values[0], values[1], equal_nan=values[0].dtype.kind in "fc"))
