"""Golden tensors that shared a new tensor with others because a few examples are equal, and that differ in all."""

from collections.abc import Sequence, Set
from dataclasses import replace

from tfdump.comparison.pairing import EXACT, Pair
from tfdump.comparison.verdict import DIFFERS, MISSING, SAME, TensorDiff


def wrongly_shared(pairs: Sequence[Pair], differing: Sequence[bool], compared: Sequence[bool]) -> set[int]:
    """Return the places of the pairs by exact value that differ while another golden tensor agrees with the new one.

    `differing` and `compared` tell of each pair whether its values differ, and whether they were compared.
    """
    places = range(len(pairs))
    agreeing = {_new_name(pairs[place]) for place in places if compared[place] and not differing[place]}
    return {
        place
        for place in places
        if differing[place] and pairs[place].by == EXACT and _new_name(pairs[place]) in agreeing
    }


def without_wrongly_shared(
    tensors: Sequence[TensorDiff], pairs: Sequence[Pair], every: Sequence[Pair], allow_missing: bool
) -> tuple[list[TensorDiff], list[Pair], list[Pair]]:
    """Return the verdicts, their pairs and all pairs, where golden tensors that shared wrongly have no counterpart.

    A layer whose first values are all positive equals the ReLU behind it, although it has its own values further on.
    """
    statuses = [tensor.status for tensor in tensors]
    wrong = wrongly_shared(
        pairs, [status == DIFFERS for status in statuses], [status in (SAME, DIFFERS) for status in statuses]
    )
    if not wrong:
        return list(tensors), list(pairs), list(every)
    gone = {id(pairs[place]) for place in wrong}
    verdicts = [
        _missing(tensor, not allow_missing) if place in wrong else tensor for place, tensor in enumerate(tensors)
    ]
    return verdicts, _alone(pairs, gone), _alone(every, gone)


def _alone(pairs: Sequence[Pair], gone: Set[int]) -> list[Pair]:
    return [Pair(pair.golden, None, "") if id(pair) in gone else pair for pair in pairs]


def _missing(tensor: TensorDiff, fails: bool) -> TensorDiff:
    return replace(
        tensor,
        new_name=None,
        status=MISSING,
        fails=fails,
        reason="only the golden side has it",
        new_shape=None,
        new_dtype=None,
        compared_by="",
        comparison=None,
        paired_by="",
        layout="",
        total_error=None,
        own_error=None,
        influence=None,
        through=(),
    )


def _new_name(pair: Pair) -> tuple[str, str] | None:
    return None if pair.golden is None or pair.new is None else (pair.new.group, pair.new.address)
