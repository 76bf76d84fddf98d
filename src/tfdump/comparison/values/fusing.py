"""Tensors that only one side has: computed inside of what reads them on the other side, or where the sides diverge."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from tfdump.comparison.pairing import Pair
from tfdump.comparison.plain_arrays import Item
from tfdump.comparison.sides import Side
from tfdump.comparison.values.agreement import agreement_of_readers
from tfdump.comparison.verdict import DIFFERS, EXTRA, FUSED, MISSING, SAME, TensorDiff
from tfdump.dump import layout
from tfdump.dump.attributes import order_of
from tfdump.dump.graph.labels import inputs_of

_ELSEWHERE = "no tensor of the new side has its values, and what follows differs"

_Select = Callable[[Pair], Item | None]


def with_fused(
    tensors: Sequence[TensorDiff], compared: Sequence[Pair], pairs: Sequence[Pair], golden: Side, new: Side
) -> list[TensorDiff]:
    """Return the verdicts, where a tensor of one side passes as fused if all that read it there agree.

    `compared` has the pairs of the verdicts, `pairs` all pairs. A reader agrees if its values are equal but for
    rounding, and if its verdict does not say otherwise. Also marks the missing tensor at which the sides diverge.
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
    return _with_divergence(results, compared, new, of_golden)


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


def _with_divergence(
    tensors: list[TensorDiff], compared: Sequence[Pair], new: Side, agreement: Mapping[str, bool]
) -> list[TensorDiff]:
    """Return the verdicts, with the missing tensor marked at which the sides diverge.

    It is the first one that is not fused, if the new side has tensors without a counterpart before what differs next:
    it computes something else there. Where both sides end with tensors without a counterpart, and no outputs were
    compared, the missing one fails even if tensors may be missing, because nothing else tells that the sides differ.
    """
    places = {id(item): place for place, item in enumerate(sorted(new.items, key=order_of))}
    rows = list(enumerate(zip(compared, tensors, strict=True)))
    missing = [
        number
        for number, (pair, one) in rows
        if one.status == MISSING and pair.golden is not None and pair.golden.group == layout.ACTIVATIONS
        if inputs_of(pair.golden) is not None and not agreement.get(pair.golden.address, False)
    ]
    extra = [places[id(pair.new)] for _, (pair, one) in rows if one.status == EXTRA and _is_forward(pair.new)]
    if not missing or not extra:
        return tensors
    both = [(number, pair, one) for number, (pair, one) in rows if one.status in (SAME, DIFFERS)]
    diverging = replace(tensors[missing[0]], diverges=True, reason=_ELSEWHERE)
    differing = next(((number, pair.new) for number, pair, one in both if one.status == DIFFERS), None)
    if differing is not None:
        number, item = differing
        if missing[0] < number and (not _is_forward(item) or min(extra) < places[id(item)]):
            tensors[missing[0]] = diverging
        return tensors
    agreeing = [(number, places[id(pair.new)]) for number, pair, _ in both if _is_forward(pair.new)]
    last, new_last = (max(numbers, default=-1) for numbers in (zip(*agreeing, strict=True) if agreeing else ((), ())))
    tells = not new.is_plain and not any(
        pair.new is not None and pair.new.group == layout.OUTPUTS for _, pair, _ in both
    )
    if tells and missing[-1] > last and max(extra) > new_last:
        tensors[missing[0]] = replace(diverging, fails=True)
    return tensors


def _is_forward(item: Item | None) -> bool:
    """Tell whether a new tensor is an activation, or an array that may be one."""
    return item is not None and item.group in (layout.ACTIVATIONS, "")
