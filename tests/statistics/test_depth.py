"""How large every layer is, along depth: stored numbers where there are some, else those of the values."""

from pathlib import Path

import numpy as np
import pytest

from support.plotted_dumps import plot_dump, stored
from tfdump.dump.reader import open_dump
from tfdump.errors import DumpError
from tfdump.statistics.depth import Depth, LayerSize, depth_of

RANDOM = np.random.default_rng(4)


def layers_of(depth: Depth) -> dict[str, LayerSize]:
    return {layer.address: layer for layer in depth.layers}


def test_activations_have_the_scale_of_their_finite_values(tmp_path: Path) -> None:
    values = RANDOM.normal(1, 2, size=(5, 300)).astype("f4")
    odd = values.copy()
    odd[0, :3] = np.nan, np.inf, -np.inf
    summed = stored(np.zeros((0, 4), "f4"), values=False, computed_shape=np.array([5, 4]), stat_count=20, stat_l2=10.0,
                    stat_std=0.5, stat_nan=4, stat_inf=0)  # fmt: skip
    tensors = {"plain": values, "odd": odd, "stored": summed, "text": np.array(["a"], object), "none": np.zeros((0, 2))}
    with open_dump(plot_dump(tmp_path / "d.h5", {**tensors, "inputs/x": values})) as dump:
        (depth,) = depth_of(dump)
    assert not depth.is_gradient
    plain, holed, by_statistics = (layers_of(depth)[name] for name in ("plain", "odd", "stored"))
    exact = values.astype("f8")
    assert plain.rms == pytest.approx(np.sqrt((exact**2).mean()))
    assert plain.std == pytest.approx(exact.std())
    finite = exact.ravel()[3:]
    assert holed.rms == pytest.approx(np.sqrt((finite**2).mean()))
    assert (holed.nan, holed.inf) == (1, 2)
    assert by_statistics.rms == pytest.approx(10 / np.sqrt(16))
    assert dict(depth.left_out) == {"text": "string", "none": "empty"}


def test_gradients_have_their_norms_a_group_at_a_time(tmp_path: Path) -> None:
    kernel = RANDOM.normal(size=(4, 3)).astype("f4")
    tensors = {
        "gradients/weights/a.kernel": stored(kernel, axis0="none"),
        "gradients/weights/a.bias": stored(kernel[0], axis0="none", norm=7.5),
        "gradients/weights/b.kernel": stored(np.zeros((0, 2), "f4"), connected=False),
        "gradients/weights/c.kernel": stored(np.stack([kernel] * 3), axis0="step", norm=np.array([3.0, 2.0, np.nan])),
        "gradients/activations/a": stored(kernel, norm=1.0),
        "gradients/inputs/x": stored(kernel, norm=2.0),
        "weights/a.kernel": kernel,
    }
    with open_dump(plot_dump(tmp_path / "g.h5", tensors)) as dump:
        weights, activations = depth_of(dump)
        (alone,) = depth_of(dump, {("gradients/activations", "a")})
        with pytest.raises(DumpError, match="has no tensor whose size is known"):
            depth_of(dump, {("weights", "a.kernel")})
    assert repr(alone) == repr(activations)  # of sizes that are not known, which are NaN and equal nothing
    first, bias, steps = (layers_of(weights)[name] for name in ("a.kernel", "a.bias", "c.kernel"))
    assert first.norm == pytest.approx(np.linalg.norm(kernel.astype("f8")))
    assert (first.rank, bias.rank, steps.rank) == (2, 1, 2)
    assert bias.norm == 7.5
    assert steps.norms[:2] == (3.0, 2.0)
    assert steps.nan == 1
    assert weights.left_out == (("b.kernel", "not connected"),)
    assert [layer.norm for layer in activations.layers] == [1.0]


def test_sparse_gradients_count_the_zeros_that_are_not_stored(tmp_path: Path) -> None:
    parts = {"values": np.array([[3.0, 4.0]]), "indices": np.array([[7]])}
    sparse = stored(parts, encoding="sparse", dense_shape=np.array([50, 2]), axis0="none")
    with open_dump(plot_dump(tmp_path / "g.h5", {"gradients/weights/e": sparse})) as dump:
        (layer,) = depth_of(dump)[0].layers
    assert (layer.norm, layer.rms) == (5.0, pytest.approx(0.5))
