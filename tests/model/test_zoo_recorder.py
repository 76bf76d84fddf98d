"""What the recorder misses: each is expected to fail until it is mended there."""

from pathlib import Path

import numpy as np
import pytest

import zoo
from tiny_models import floats
from zoo_models import Inner

pytestmark = [pytest.mark.tensorflow, pytest.mark.filterwarnings("ignore")]

X = floats(4, 3)


@pytest.mark.xfail(
    strict=True,
    reason="vectorized_map traces its function for one element into the same graph: its tensors look like any other",
)
def test_a_layer_inside_a_vectorized_map_is_named_and_not_dumped_for_one_row(tmp_path: Path) -> None:
    model = Inner("vectorized_map")
    model(X)
    kernel, bias = model.inside.get_weights()
    model.save(tmp_path / "m.keras")
    found = zoo.dumped(tmp_path / "m.keras", X)
    if "inside" in found.values:  # every row, if any
        np.testing.assert_allclose(np.reshape(found.values["inside"], (4, 3)), X @ kernel + bias, rtol=1e-4, atol=1e-5)
    else:
        assert "inside" in found.missing


@pytest.mark.xfail(
    strict=True,
    reason="a layer counts as seen once any call of it went through __call__: that another did not is said nowhere",
)
def test_a_direct_call_of_a_layer_that_is_also_called_is_named(tmp_path: Path) -> None:
    model = Inner("direct_and_called")
    model(X)
    model.save(tmp_path / "m.keras")
    found = zoo.dumped(tmp_path / "m.keras", X)
    calls = [address for address in [*found.values, *found.missing] if address.partition("@")[0] == "inside"]
    assert len(calls) == 2
