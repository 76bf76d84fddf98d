"""The attributes of a dump: the names of the statistics, and the type that each attribute must have."""

import json
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

from tfdump.accumulators.statistics import Statistics

STATISTIC_NAMES = ("count", "min", "max", "mean", "std", "l2", "nan", "inf", "zero")
"""The names of all statistics of a tensor, in the order in which tables show them."""

COUNTS = ("count", "nan", "inf", "zero")
"""The statistics that are numbers of elements: of all elements, and of those of one kind."""

STATISTIC_PREFIX = "stat_"
"""The start of the attribute of a statistic: the mean is the attribute `stat_mean`."""

_TEXT = (
    "address", "layer", "class", "structure", "dtype", "stored_as", "axis0", "encoding", "reduce", "executed_as",
    "operation", "source",
)  # fmt: skip
_ADDRESSES = ("inputs", "operands")
_WHOLE = (
    "order", "overflowed", "values", "connected", "examples", "first_example", "searched_examples",
    "batch_first_example", "epoch", "batch", "per_example",
)  # fmt: skip
_SIZES = ("shape", "computed_shape", "dense_shape", "stored_axes")
_COUNTS = tuple(f"{STATISTIC_PREFIX}{name}" for name in COUNTS)
_MOST_SIZES = 64


class Named(Protocol):
    """A tensor of a dump, or a plain array that is compared with one and that has the group ""."""

    group: str
    address: str
    attributes: dict[str, Any]


def full_name(tensor: Named) -> str:
    """Return the group and the address of a tensor, as tables show it; a plain array has its own name."""
    return f"{tensor.group}/{tensor.address}" if tensor.group else tensor.address


def order_of(tensor: Named) -> float:
    """Return the place of a tensor in the order of execution, within its group; 0 for a plain array."""
    return float(tensor.attributes.get("order", 0))


def check_attributes_of(attributes: Mapping[str, Any]) -> None:
    """Raise ValueError if an attribute that has a meaning in a dump is not of the type with which it is written."""
    for name, value in attributes.items():
        if name in _TEXT and not isinstance(value, str):
            raise ValueError(f"its attribute '{name}' is not text")
        if name in _WHOLE and not isinstance(value, int):
            raise ValueError(f"its attribute '{name}' is not a whole number")
        if name in _SIZES and not _is_shape(value):
            raise ValueError(f"its attribute '{name}' is not a shape")
        if name in _ADDRESSES and not _is_list_of_text(value):
            raise ValueError(f"its attribute '{name}' is not a list of addresses")
        if name.startswith(STATISTIC_PREFIX) and not isinstance(value, (int, float)):
            raise ValueError(f"its attribute '{name}' is not a number")
        if name in _COUNTS and (not isinstance(value, int) or value < 0):
            raise ValueError(f"its attribute '{name}' is not a number of elements")
        if name == "norm" and not _is_norm(value):
            raise ValueError("its attribute 'norm' is neither a number nor one number per step")
    counts = [attributes.get(name, 0) for name in _COUNTS]
    if _COUNTS[0] in attributes and sum(counts[1:]) > counts[0]:
        raise ValueError("its statistics count more elements than it has")


def _is_shape(value: Any) -> bool:
    sizes = value if isinstance(value, list) else [None]
    return len(sizes) <= _MOST_SIZES and all(isinstance(size, int) and size >= -1 for size in sizes)


def _is_list_of_text(value: Any) -> bool:
    try:
        items = json.loads(value) if isinstance(value, str) else None
    except (ValueError, RecursionError):
        return False
    return isinstance(items, list) and all(isinstance(item, str) for item in items)


def _is_norm(value: Any) -> bool:
    steps = value if isinstance(value, list) else [value]
    return all(isinstance(step, (int, float)) for step in steps)


def statistics_attributes(statistics: Statistics) -> dict[str, Any]:
    """Return the statistics as attributes of a dataset: `stat_count`, `stat_min` and so on, as int64 and float64."""
    return {
        f"{STATISTIC_PREFIX}{name}": np.int64(value) if isinstance(value, int) else np.float64(value)
        for name, value in vars(statistics).items()
    }
