"""Which layers add errors, and which pass on what they get: the verdict on isolated errors in one line."""

from collections.abc import Sequence

from tfdump.comparison.tolerance import default_tolerance
from tfdump.comparison.verdict import TensorDiff
from tfdump.dtypes import kind_of
from tfdump.dump.layout import OUTPUTS

_MOST = 3
"""Layers that are named of each kind."""

_PASSING = 0.01
"""The largest share of its own in the error of a layer that passes on what it gets."""


def blame_of(tensors: Sequence[TensorDiff]) -> str:
    """Return in one line which layers add errors, by their own errors; empty if no error was isolated."""
    isolated = [tensor for tensor in tensors if tensor.own_error is not None]
    if not isolated:
        return ""
    adding = sorted((tensor for tensor in isolated if _adds(tensor)), key=lambda tensor: -_own(tensor))
    if not adding:
        largest = max(isolated, key=_own)
        return f"no layer adds more than rounding: the largest own error is {_own(largest):.2g}, of {_name(largest)}"
    clauses = [f"{_name(tensor)} adds {_share(tensor)} of the error that leaves it" for tensor in adding[:_MOST]]
    if len(adding) > _MOST:
        clauses[-1] += f" ({len(adding) - _MOST} more add less)"
    passing = [tensor.shown_name for tensor in isolated if _passes(tensor)]
    if passing:
        clauses.append(f"{_enumeration(passing)} {'passes on what it gets' if len(passing) == 1 else _THEY}")
    influence = _influence(isolated)
    return "; ".join([*clauses, influence] if influence else clauses)


_THEY = "pass on what they get"


def _own(tensor: TensorDiff) -> float:
    return tensor.own_error or 0.0


def _total(tensor: TensorDiff) -> float:
    return tensor.total_error or 0.0


def _adds(tensor: TensorDiff) -> bool:
    return _own(tensor) > _rounding(tensor) and _own(tensor) > _PASSING * _total(tensor)


def _passes(tensor: TensorDiff) -> bool:
    is_output = (tensor.name or "").startswith(f"{OUTPUTS}/")
    return not is_output and not _adds(tensor) and _total(tensor) > _rounding(tensor)


def _rounding(tensor: TensorDiff) -> float:
    """Return the relative error that rounding alone may cause."""
    dtypes = [dtype for dtype in (tensor.dtype, tensor.new_dtype) if dtype is not None]
    return default_tolerance(dtypes).scale if all(kind_of(dtype) in "fc" for dtype in dtypes) else 0.0


def _name(tensor: TensorDiff) -> str:
    return f"{tensor.shown_name} (with {_enumeration(tensor.through)})" if tensor.through else tensor.shown_name


def _share(tensor: TensorDiff) -> str:
    """Return the own error as a percentage of the total one; errors may cancel, so it may be larger."""
    share = _own(tensor) / _total(tensor) if _own(tensor) < _total(tensor) else 1.0
    return f"{max(1, round(100 * share))} %"


def _enumeration(names: Sequence[str]) -> str:
    shown = list(names[:_MOST])
    if len(names) > _MOST:
        shown.append(f"{len(names) - _MOST} more")
    return " and ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)


def _influence(tensors: Sequence[TensorDiff]) -> str:
    """Return which layer has the largest influence on the final outputs."""
    largest = max(tensors, key=lambda tensor: tensor.influence or 0.0)
    if not largest.influence or largest.influence <= 0:
        return ""
    percent = max(1, round(100 * largest.influence))
    return f"with {_name(largest)} alone right, {percent} % of the error of the outputs goes away"
