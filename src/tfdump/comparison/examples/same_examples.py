"""Whether two sides hold the same examples, as their names tell, and to which example a difference belongs."""

from collections.abc import Sequence
from dataclasses import replace
from hashlib import blake2b
from itertools import islice

import numpy as np

from tfdump.comparison.examples.side_examples import SideExamples
from tfdump.comparison.pairing import Pair
from tfdump.comparison.plain_arrays import Item
from tfdump.comparison.sides import Side
from tfdump.comparison.verdict import VALUES, Comparison, TensorDiff
from tfdump.dump.axis0 import EXAMPLE
from tfdump.dump.examples import one_line
from tfdump.dump.tensor import Tensor
from tfdump.errors import DumpError

_MOST_PLACES = 100
"""Places at which the examples of one side are looked for in the other one."""


def names_decide(golden: Side, new: Side) -> bool:
    """Tell whether both sides name their examples."""
    return golden.examples is not None and new.examples is not None


def check_same_examples(golden: Side, new: Side) -> None:
    """Raise DumpError where both sides name their examples, and these are others or in another order.

    The message tells the first row that differs, with both names.
    """
    old, other = golden.examples, new.examples
    if old is None or other is None or old is other:
        return
    row = first_difference(old, other)
    if row is not None:
        remedy = _remedy((golden.name, old), (new.name, other))
        where = row_text(row, (golden.name, old), (new.name, other))
        raise DumpError(f"{golden.name} and {new.name} hold different examples: {where} ({remedy})")


def first_difference(golden: SideExamples, new: SideExamples) -> int | None:
    """Return the first row in which the names differ, or which only one side has; None if there is none."""
    row = 0
    for old, other in zip(golden.blocks(), new.blocks(), strict=False):
        for name, new_name in zip(old, other, strict=False):
            if name != new_name:
                return row
            row += 1
    return None if golden.count == new.count else row


def row_text(row: int, *sides: tuple[str, SideExamples]) -> str:
    """Return which example each of two named sides has in a row."""
    named = [(name, examples.name(row)) for name, examples in sides if row < examples.count]
    (first, old), *rest = [(name, one_line(example)) for name, example in named]
    if rest:
        return f"row {row} is '{old}' in {first} and '{rest[0][1]}' in {rest[0][0]}"
    shorter = next(name for name, examples in sides if row >= examples.count)
    return f"row {row} is '{old}' in {first}, and {shorter} has only {row}"


def _remedy(golden: tuple[str, SideExamples], new: tuple[str, SideExamples]) -> str:
    (part_name, part), (whole_name, whole) = sorted((golden, new), key=lambda side: side[1].count)
    if part.count == whole.count:
        if _fingerprint(part) == _fingerprint(whole):
            return "both have the same examples in another order: dump both from the same INPUT"
        return (
            "dump both from the same INPUT with the same --examples; tfdump diff --ignore-ids compares row by row all "
            "the same"
        )
    start = _place_of(part, whole)
    if start is None or whole.first is None:
        return "dump both from the same INPUT with the same --examples"
    first = whole.first + start
    return (
        f"{whole_name} has those of {part_name} from row {start} on: dump it from its INPUT with --examples "
        f"{first}:{first + part.count}"
    )


def _fingerprint(examples: SideExamples) -> int:
    """Return a number that two sides with the same names in any order share."""
    hashes = (
        int.from_bytes(blake2b(name.encode("utf-8", "surrogatepass"), digest_size=16).digest())
        for names in examples.blocks()
        for name in names
    )
    return sum(hashes) % (1 << 128)


def _place_of(part: SideExamples, whole: SideExamples) -> int | None:
    """Return the row of one side from which on it has all examples of the other side in their order, or None."""
    wanted = part.name(0) if part.count else ""
    names = (name for block in whole.blocks() for name in block)
    starts = (row for row, name in enumerate(names) if name == wanted and row + part.count <= whole.count)
    return next((start for start in islice(starts, _MOST_PLACES) if _continues(part, whole, start)), None)


def _continues(part: SideExamples, whole: SideExamples, start: int) -> bool:
    return all(block == other[: len(block)] for block, other in zip(part.blocks(), whole.blocks(start), strict=False))


def with_example_ids(
    verdicts: Sequence[TensorDiff], pairs: Sequence[Pair], golden: Side, new: Side
) -> list[TensorDiff]:
    """Return the verdicts on pairs with the name of the example of each worst element, where a side tells it."""
    examples = golden.examples or new.examples
    if examples is None:
        return list(verdicts)
    return [_with_example_id(verdict, pair, examples) for verdict, pair in zip(verdicts, pairs, strict=True)]


def _with_example_id(verdict: TensorDiff, pair: Pair, examples: SideExamples) -> TensorDiff:
    comparison, items = verdict.comparison, [item for item in (pair.golden, pair.new) if item is not None]
    item = next((item for item in items if item.group), None)
    if comparison is None or comparison.index is None or item is None or verdict.compared_by != VALUES:
        return verdict
    row = _row(item, comparison)
    if row is None or row >= examples.count:
        return verdict
    name, place = examples.name(row), f"worst at {list(comparison.index)}"
    reason = verdict.reason.replace(place, f"{place} ({one_line(name)})", 1)
    return replace(verdict, reason=reason, example_id=name)


def _row(item: Item, comparison: Comparison) -> int | None:
    """Return the row of the example that holds the worst element; None if it is not known."""
    if item.attributes.get("axis0") != EXAMPLE or not comparison.index:
        return None
    row = comparison.index[0]
    if item.encoding is None:
        return row
    if item.encoding != "ragged" or comparison.part != "values" or not isinstance(item, Tensor):
        return None
    splits = {part.name: part for part in item.parts() if part.name.startswith("row_splits")}
    for name in sorted(splits, reverse=True):
        row = int(np.searchsorted(splits[name].read(), row, side="right")) - 1
    return row
