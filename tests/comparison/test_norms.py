"""The L2 norm that samples are compared by, against exact sums."""

import math

import numpy as np
import pytest

from tfdump.comparison.values.norms import l2_norm


@pytest.mark.parametrize("dtype", ["float64", "complex128"])
def test_the_norm_is_that_of_all_numbers(dtype: str) -> None:
    random = np.random.default_rng(0)
    values = random.normal(size=(7, 40, 3)) + (1j * random.normal(size=(7, 40, 3)) if dtype == "complex128" else 0)
    exact = math.sqrt(math.fsum(abs(number) ** 2 for number in values.transpose(2, 0, 1)[:, 1:].ravel().tolist()))
    assert l2_norm(values.astype(dtype).transpose(2, 0, 1)[:, 1:]) == pytest.approx(exact, rel=1e-14)
    assert l2_norm(np.zeros((3, 0))) == 0
    assert l2_norm(np.array([1e200, 1])) == math.inf
