"""Which weights changed between two dumps, which did not, and which of them should not have."""

from collections.abc import Iterable, Mapping, Sequence

from tfdump.comparison.pairing import Pair
from tfdump.comparison.plain_arrays import Item
from tfdump.comparison.preconditions import few
from tfdump.comparison.verdict import DIFFERS, SAME, VALUES, TensorDiff
from tfdump.dump import layout
from tfdump.dump.attributes import full_name
from tfdump.dump.axis0 import NONE
from tfdump.dump.kernel_axes import axes_of, in_keras_order

_STATE = "state"
_MOVING = ("moving_mean", "moving_variance")
"""Weights that training changes although it has no gradient for them, in dumps that do not say so."""


def weight_notes(tensors: Sequence[TensorDiff], pairs: Sequence[Pair]) -> list[str]:
    """Return what to know about two dumps of weights: what changed, frozen weights that moved, transposed kernels."""
    both = {full_name(pair.golden): pair for pair in pairs if pair.golden is not None and pair.new is not None}
    compared = [
        (tensor, both[tensor.name])
        for tensor in tensors
        if tensor.name in both and tensor.status in (SAME, DIFFERS) and _is_weight(both[tensor.name].golden)
    ]
    if not compared:
        return []
    by_values = [(tensor, pair) for tensor, pair in compared if tensor.compared_by == VALUES]
    moved = [pair for tensor, pair in by_values if _moved(tensor)]
    notes = [_changes(by_values, moved)] if by_values else []
    new = [pair.new for _, pair in compared if pair.new is not None]
    frozen = [pair.new.address for pair in moved if pair.new is not None and _is_frozen(pair.new, new)]
    if frozen:
        which = "a frozen weight changed" if len(frozen) == 1 else f"{len(frozen)} frozen weights changed"
        notes.append(f"{which}, although training must not change what is not trainable: {few(frozen)}")
    hint = _transposed(compared)
    return [*notes, *hint]


def _is_weight(item: Item | None) -> bool:
    """Tell whether a tensor is a weight of a model as it was saved, and not one per step of a training."""
    return item is not None and item.group == layout.WEIGHTS and item.attributes.get("axis0") == NONE


def _moved(tensor: TensorDiff) -> bool:
    """Tell whether any value of a weight changed, however little."""
    comparison = tensor.comparison
    return comparison is not None and bool(comparison.max_error or comparison.unlike or comparison.failed)


def _changes(compared: Sequence[tuple[TensorDiff, Pair]], moved: Sequence[Pair]) -> str:
    text = f"{len(moved)} of {len(compared)} weights changed"
    identities = {id(pair) for pair in moved}
    still = [pair.golden.address for _, pair in compared if id(pair) not in identities and pair.golden is not None]
    return f"{text}; exactly equal: {few(still)}" if still and moved else text


def _is_frozen(item: Item, others: Iterable[Item]) -> bool:
    """Tell whether a weight is not trainable because its layer is frozen, and not because it is a moving average.

    A moving average is frozen if the trained weights of its layer are: then Keras does not update it.
    """
    if item.attributes.get(layout.TRAINABLE, True):
        return False
    if not _is_state(item):
        return True
    layer = item.attributes.get("layer")
    beside = [other for other in others if other.attributes.get("layer") == layer and not _is_state(other)]
    return bool(beside) and not any(other.attributes.get(layout.TRAINABLE, True) for other in beside)


def _is_state(item: Item) -> bool:
    return bool(item.attributes.get(_STATE)) or item.address.rpartition(".")[2] in _MOVING


def _transposed(compared: Iterable[tuple[TensorDiff, Pair]]) -> list[str]:
    """Return how to compare kernels whose axes are in another order in one of two files."""
    orders: dict[int, dict[tuple[int, ...], list[str]]] = {}
    for tensor, pair in compared:
        if pair.golden is None or pair.new is None or tensor.comparison is not None:
            continue
        order = _order(pair.golden.attributes, pair.new.attributes)
        turned = () if order is None else tuple(pair.new.shape[axis] for axis in order)
        if order is not None and turned == tuple(pair.golden.shape):
            orders.setdefault(len(order), {}).setdefault(order, []).append(pair.golden.address)
    options = [
        f"--transpose '{name}={','.join(map(str, order))}'"
        for by_order in orders.values()
        for order, names in by_order.items()
        for name in (["*.kernel"] if len(by_order) == 1 else names)
    ]
    return [f"a file has its kernels with the axes in another order; add {' '.join(options)}"] if options else []


def _order(golden: Mapping[str, object], new: Mapping[str, object]) -> tuple[int, ...] | None:
    """Return the axes of the new kernel in the order of the golden one; None where the dumps do not tell them."""
    names = [axes_of(item) for item in (golden, new)]
    old, other = (own or in_keras_order(names[0] or names[1]) for own in names)
    if old == other or sorted(old) != sorted(other):
        return None
    return tuple(other.index(name) for name in old)
