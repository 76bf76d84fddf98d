"""The fewest examples of the inputs with which a pair of tensors differs."""

from collections.abc import Callable, Iterator, Sequence

from tfdump.comparison.verdict import TensorDiff
from tfdump.dump.axis0 import EXAMPLE
from tfdump.errors import ModelError
from tfdump.side_by_side.model_side import ModelSide
from tfdump.side_by_side.run import SideBySide
from tfdump.side_by_side.shrink.fewest import fewest_examples
from tfdump.side_by_side.shrink.records import NothingShrunk
from tfdump.side_by_side.shrink.values import TensorJudge, values_of


def differing_examples(sides: SideBySide, judge: TensorJudge) -> list[int]:
    """Return the fewest examples of one batch with which both tensors differ.

    Raises NothingShrunk where no batch differs when it runs by itself.
    """
    differs = _differs(sides, judge)
    worst = _worst(sides, judge.tensor)
    if worst is not None and _runs(differs, [worst]):
        return [worst]
    for batch in _batches(sides, worst):
        if _runs(differs, batch):
            return fewest_examples(batch, lambda part: _runs(differs, part))
    raise NothingShrunk("no batch of examples differs when it runs by itself")


def _differs(sides: SideBySide, judge: TensorJudge) -> Callable[[Sequence[int]], bool]:
    def differs(examples: Sequence[int]) -> bool:
        (golden,) = values_of(sides.golden, [str(judge.tensor.name)], examples)
        (new,) = values_of(sides.new, [str(judge.tensor.new_name)], examples)
        return judge.differs(golden, new)

    return differs


def _runs(differs: Callable[[Sequence[int]], bool], examples: Sequence[int]) -> bool:
    """Tell whether the models run on some examples, and differ."""
    try:
        return differs(examples)
    except ModelError:
        return False


def _worst(sides: SideBySide, tensor: TensorDiff) -> int | None:
    """Return the example of the worst element; None where the first axis is not the example."""
    comparison = tensor.comparison
    if comparison is None or not comparison.index:
        return None
    for side, name in zip((sides.golden, sides.new), (tensor.name, tensor.new_name), strict=True):
        if isinstance(side, ModelSide):
            planned = next(one for one in side.run.plan.tensors if f"{one.group}/{one.info.address}" == name)
            if planned.axis0 != EXAMPLE:
                return None
    return comparison.index[0] if comparison.index[0] < sides.examples else None


def _batches(sides: SideBySide, worst: int | None) -> Iterator[list[int]]:
    """Yield the examples of each batch, first those of the batch with the worst element."""
    starts = list(range(0, sides.examples, sides.step))
    if worst is not None:
        first = worst // sides.step * sides.step
        starts = [first, *(start for start in starts if start != first)]
    for start in starts:
        yield list(range(start, min(start + sides.step, sides.examples)))
