"""The arguments of the Python API as the features take them: arrays, patterns, losses, and what is refused."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from tfdump.dump import layout
from tfdump.errors import TfdumpError
from tfdump.inputs.arguments import Given
from tfdump.inputs.readers import ArrayReader
from tfdump.sinks import FLOAT_DTYPES

Inputs = npt.ArrayLike | Mapping[str, npt.ArrayLike] | list[npt.ArrayLike] | tuple[npt.ArrayLike, ...]
Patterns = str | Iterable[str]


def check_arguments(batch_size: int | None, seed: int, dtype: str | None) -> None:
    """Raise TfdumpError for values that the command line would refuse too."""
    if batch_size is not None and (not isinstance(batch_size, int) or batch_size < 1):
        raise TfdumpError(f"batch_size {batch_size!r} is neither a number from 1 up nor None")
    if not 0 <= seed < 2**32:
        raise TfdumpError(f"seed {seed} is not between 0 and 2**32 - 1")
    if dtype not in (None, *FLOAT_DTYPES):
        raise TfdumpError(f"dtype {dtype!r} is none of {', '.join(FLOAT_DTYPES)}")


def patterns_of(patterns: Patterns) -> tuple[str, ...]:
    """Return one pattern, or several, as a tuple."""
    return (patterns,) if isinstance(patterns, str) else tuple(patterns)


def given_arrays(x: Inputs, what: str = "input") -> list[Given]:
    """Return arrays with their names, where they have some; `what` they are, for error lines."""
    if isinstance(x, Mapping):
        return [Given(name, ArrayReader(array, f"{what} '{name}'")) for name, array in x.items()]
    if isinstance(x, tuple) or (isinstance(x, list) and x and hasattr(x[0], "shape")):
        return [Given(None, ArrayReader(array, f"{what} {number}")) for number, array in enumerate(x)]
    return [Given(None, ArrayReader(np.asarray(x), f"the {what}"))]


def loss_names(loss: Any) -> tuple[tuple[str, ...], dict[str, Any]]:
    """Return the losses as names, and by name those that are objects."""
    if loss is None or isinstance(loss, str):
        return (() if loss is None else (loss,)), {}
    if callable(loss) and not isinstance(loss, type):
        name = str(getattr(loss, "name", None) or getattr(loss, "__name__", "loss"))
        return (name,), {name: loss}
    return tuple(loss), {}


def check_intervals(every: int, on: str, keep: int | None, on_error: str) -> None:
    """Raise TfdumpError for intervals that are none."""
    for name, value in (("every", every), ("keep", 1 if keep is None else keep)):
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise TfdumpError(f"{name} {value!r} is not a number from 1 up")
    if on not in (layout.EPOCH, layout.BATCH):
        raise TfdumpError(f"on {on!r} is neither '{layout.EPOCH}' nor '{layout.BATCH}'")
    if on_error not in ("warn", "raise"):
        raise TfdumpError(f"on_error {on_error!r} is neither 'warn' nor 'raise'")


def refuse_arguments(arguments: dict[str, bool], why: str) -> None:
    """Raise TfdumpError where one of the arguments was given; `why` it does not belong here."""
    for name, given in arguments.items():
        if given:
            raise TfdumpError(f"{name} is for {why}")
