"""Tensors that only one side has because the other side computes them inside of what reads them."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from tfdump.comparison.pairing import Pair
from tfdump.comparison.plain_arrays import Item
from tfdump.comparison.sides import Side
from tfdump.comparison.values.agreement import agreement_of_readers
from tfdump.comparison.verdict import DIFFERS, EXTRA, FUSED, MISSING, TensorDiff
from tfdump.dump import layout

_Select = Callable[[Pair], Item | None]


def with_fused(
    tensors: Sequence[TensorDiff], compared: Sequence[Pair], pairs: Sequence[Pair], golden: Side, new: Side
) -> list[TensorDiff]:
    """Return the verdicts, where a tensor of one side passes as fused if all that read it there agree.

    `compared` has the pairs of the verdicts, `pairs` all pairs. A reader agrees if its values are equal but for
    rounding, and if its verdict does not say otherwise.
    """
    differing = [pair for pair, tensor in zip(compared, tensors, strict=True) if tensor.status == DIFFERS]
    of_golden = _agreement(golden, pairs, differing, lambda pair: pair.golden)
    of_new = _agreement(new, pairs, differing, lambda pair: pair.new)
    results = []
    for pair, tensor in zip(compared, tensors, strict=True):
        known, item = (of_golden, pair.golden) if tensor.status == MISSING else (of_new, pair.new)
        if tensor.status in (MISSING, EXTRA) and item is not None and _is_fused(item, known):
            side = "golden" if tensor.status == MISSING else "new"
            reason = f"only the {side} side has it, and all that reads it there agrees"
            results.append(replace(tensor, status=FUSED, fails=False, reason=reason))
        else:
            results.append(tensor)
    return results


def _is_fused(item: Item, agreement: Mapping[str, bool]) -> bool:
    return item.group == layout.ACTIVATIONS and agreement.get(item.address, False)


def _agreement(side: Side, pairs: Sequence[Pair], differing: Sequence[Pair], of: _Select) -> dict[str, bool]:
    """Return by address whether all that read an activation of one side agree."""

    def addresses(some: Iterable[Pair]) -> set[str]:
        items = (of(pair) for pair in some)
        return {item.address for item in items if item is not None and item.group == layout.ACTIVATIONS}

    agreeing = addresses(pair for pair in pairs if pair.exact) - addresses(differing)
    alone = addresses(pair for pair in pairs if pair.golden is None or pair.new is None)
    return agreement_of_readers(side.items, agreeing.__contains__, (alone - agreeing).__contains__)
