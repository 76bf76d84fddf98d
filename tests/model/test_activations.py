"""Every activation of every odd model equals what its layers give when they are called one by one."""

import numpy as np
import pytest

import tfdump
from support import tiny_models

pytestmark = pytest.mark.tensorflow


def assert_all_close(got: dict, expected: dict) -> None:
    assert set(got) == set(expected)
    for address, value in expected.items():
        np.testing.assert_allclose(got[address], value, rtol=1e-4, atol=1e-5, err_msg=address)
        assert got[address].dtype == value.dtype, address


@pytest.mark.filterwarnings("ignore::tfdump.TfdumpWarning")
@pytest.mark.parametrize("name", tiny_models.CASES)
def test_activations_equal_the_layers_called_by_hand(name: str) -> None:
    case = tiny_models.CASES[name]()
    assert_all_close(tfdump.activations(case.model, case.x), case.expected)


@pytest.mark.filterwarnings("ignore::tfdump.TfdumpWarning")
@pytest.mark.parametrize("name", tiny_models.CASES)
@pytest.mark.parametrize("batch_size", [1, 2, 7, 32])
def test_batch_size_does_not_change_the_values(name: str, batch_size: int) -> None:
    case = tiny_models.CASES[name]()
    assert_all_close(tfdump.activations(case.model, case.x, batch_size=batch_size), case.expected)


@pytest.mark.filterwarnings("ignore::tfdump.TfdumpWarning")
@pytest.mark.parametrize("name", tiny_models.CASES)
def test_eager_run_gives_the_same(name: str) -> None:
    case = tiny_models.CASES[name]()
    assert_all_close(tfdump.activations(case.model, case.x, eager=True, batch_size=4), case.expected)


def test_addresses_come_in_the_order_of_execution() -> None:
    case = tiny_models.submodel_twice()
    assert list(tfdump.activations(case.model, case.x)) == list(case.expected)


def test_one_early_layer_does_not_run_the_rest() -> None:
    """TensorFlow prunes what nobody asked for: the graph of an early layer does not need the late weights."""
    import keras

    from tfdump.address import Selection
    from tfdump.model.request import Request
    from tfdump.model.runnable import probe_declared

    x = keras.Input((4,))
    model = keras.Model(x, keras.layers.Dense(2, name="late")(keras.layers.Dense(3, name="early")(x)))
    request = Request(Selection(["early"]), outputs=False)
    with probe_declared(model, request, print) as probe:
        assert [p.info.address for p in probe.probed] == ["early"]
        assert probe.live_bytes(100) < 100 * 4 * 3 * 3
