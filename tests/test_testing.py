"""The pytest helper passes and returns the report, or fails with the first diverging layer."""

from pathlib import Path

import numpy as np
import pytest

from support.made_dumps import make_dump
from tfdump.errors import DumpError
from tfdump.testing import assert_dumps_match, assert_models_match

A = np.linspace(-1, 1, 12, dtype=np.float32).reshape(4, 3)


def test_dumps_that_match_give_the_report(tmp_path: Path) -> None:
    golden = make_dump(tmp_path / "g.h5", {"a": A, "b": A})
    report = assert_dumps_match(golden, make_dump(tmp_path / "n.h5", {"a": A + 0.5, "b": A}), atol={"a": 0.6})
    assert report.same
    assert [tensor.status for tensor in report.tensors] == ["same", "same"]


def test_a_failure_names_the_first_layer_and_lists_the_others(tmp_path: Path) -> None:
    golden = make_dump(tmp_path / "g.h5", {f"layer{n}": A for n in range(30)})
    new = make_dump(tmp_path / "n.h5", {f"layer{n}": A + n for n in range(30)}, numpy_version="9")
    with pytest.raises(AssertionError) as raised:
        assert_dumps_match(golden, new)
    first, note, second, *_, last = str(raised.value).splitlines()
    assert "first diverging layer: layer1 (Dense): 12 of 12 elements, worst at [" in first
    assert note == "note: made differently: numpy_version none, 9"
    assert second.startswith("  layer1: 12 of 12 elements")
    assert last == "  and 9 more"


def test_trouble_is_no_failed_assertion(tmp_path: Path) -> None:
    golden = make_dump(tmp_path / "g.h5", {"a": A})
    with pytest.raises(DumpError, match="different numbers of examples"):
        assert_dumps_match(golden, make_dump(tmp_path / "n.h5", {"a": A}, examples=5))


@pytest.mark.tensorflow
def test_models_that_match_give_the_report_and_others_name_the_layer() -> None:
    import keras

    x = A[:, :3]
    golden = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4, name="one"), keras.layers.Dense(2, name="two")])
    new = keras.models.clone_model(golden)
    new.set_weights(golden.get_weights())
    assert assert_models_match(golden, new, x, batch_size=2).same
    new.get_layer("two").bias.assign([0.5, 0.0])
    with pytest.raises(AssertionError, match=r"first diverging layer: two \(Dense\): 4 of 8 elements"):
        assert_models_match(golden, new, x)
    assert_models_match(golden, new, x, atol={"two": 0.6, "outputs/*": 0.6})
