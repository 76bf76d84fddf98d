"""Parameters of which `make test` runs some, and `make sweep` the others."""

from collections.abc import Callable, Iterable
from itertools import product
from typing import Any

import pytest


def combinations(*axes: Iterable[Any], tested: Callable[..., object]) -> list[Any]:
    """Return all combinations; those that `tested` refuses are left to `make sweep`."""
    return [pytest.param(*values, marks=() if tested(*values) else pytest.mark.sweep) for values in product(*axes)]
