"""The variables of optimizers: slot by slot under the addresses of the weights, from files and from memory."""

from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
from keras import optimizers

import tfdump
from support.command import Run

pytestmark = [pytest.mark.tensorflow, pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")]

OPTIMIZERS: dict[str, tuple[Any, dict[str, str]]] = {
    "adam": (lambda: optimizers.Adam(amsgrad=True), {"momentum": "_momentums", "velocity": "_velocities"}),
    "averaged": (lambda: optimizers.SGD(momentum=0.9, use_ema=True), {"average": "_model_variables_moving_average"}),
    "rmsprop": (lambda: optimizers.RMSprop(centered=True), {"velocity": "_velocities"}),
    "adagrad": (optimizers.Adagrad, {"accumulator": "_accumulators"}),
    "lion": (optimizers.Lion, {"momentum": "_momentums"}),
    "muon": (optimizers.Muon, {"momentum": "momentums", "velocity": "adam_velocities"}),
    "nadam": (optimizers.Nadam, {"momentum": "_momentums", "velocity": "_velocities"}),
    "lamb": (optimizers.Lamb, {"momentum": "_momentums", "velocity": "_velocities"}),
    "adafactor": (optimizers.Adafactor, {"r": "_r", "c": "_c", "velocity": "_v"}),
}
"""Optimizers, with the names of some slots and the attribute that has one variable per weight."""

ADDRESSES = ("hidden.kernel", "hidden.bias", "last.kernel", "last.bias")
"""The trainable weights, in the order of the model: one layer is frozen."""


def trained(optimizer: Any, steps: int = 2) -> keras.Model:
    keras.utils.set_random_seed(7)
    x = keras.Input((3,))
    frozen = keras.layers.Dense(5, name="frozen", trainable=False)
    h = keras.layers.BatchNormalization(name="bn", trainable=False)(keras.layers.Dense(4, name="hidden")(frozen(x)))
    model = keras.Model(x, keras.layers.Dense(2, name="last")(h), name="trained")
    model.compile(optimizer, "mse")
    rng = np.random.default_rng(1)
    for _ in range(steps):
        gradients = [
            keras.ops.convert_to_tensor(rng.standard_normal(v.shape), "float32") for v in model.trainable_variables
        ]
        optimizer.apply(gradients, model.trainable_variables)
    return model


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_slots_belong_to_their_weights(name: str, tmp_path: Path) -> None:
    make, slots = OPTIMIZERS[name]
    model = trained(make())
    model.save(tmp_path / "m.keras")
    optimizer = model.optimizer
    weights = tfdump.weights(tmp_path / "m.keras", optimizer=True)
    held = weights.optimizer
    for slot, attribute in slots.items():
        for address, variable in zip(ADDRESSES, getattr(optimizer, attribute), strict=True):
            if variable is not None and f"{slot}/{address}" in held:
                np.testing.assert_array_equal(held[f"{slot}/{address}"], variable, err_msg=f"{slot}/{address}")
        assert any(entry.startswith(f"{slot}/") for entry in held), slot
    assert held["iteration"] == 2
    np.testing.assert_array_equal(held["learning_rate"], optimizer.learning_rate)
    assert len(held) == len(optimizer.variables)
    assert sorted(array.tobytes() for array in held.values()) == sorted(
        np.asarray(variable).tobytes() for variable in optimizer.variables
    )
    assert not any("frozen" in entry for entry in held)
    assert set(weights) == {*ADDRESSES, "frozen.kernel", "frozen.bias", *(f"bn.{n}" for n in BN)}


BN = ("gamma", "beta", "moving_mean", "moving_variance")


def test_a_loss_scale_surrounds_another_optimizer(tmp_path: Path, tfdump: Run) -> None:
    model = trained(optimizers.LossScaleOptimizer(optimizers.Adam()))
    model.save(tmp_path / "scaled.h5")
    done = tfdump("weights", "scaled.h5", "--optimizer", "-l", "hidden", "-l", "*iteration*", "-l", "dynamic_scale")
    assert (done.stderr, done.returncode) == ("", 0)
    inner = model.optimizer.inner_optimizer
    with h5py.File(tmp_path / "scaled.weights-dump.h5") as file:
        assert list(file["weights"]) == ["hidden.kernel", "hidden.bias"]
        assert list(file["optimizer"]) == ["iteration", "dynamic_scale", "iteration~1", "momentum", "velocity"]
        assert file["optimizer/dynamic_scale"][()] == np.float32(2**15)
        assert list(file["optimizer/momentum"]) == ["hidden.kernel", "hidden.bias"]
        momentum = file["optimizer/momentum/hidden.kernel"]
        np.testing.assert_array_equal(momentum[()], inner._momentums[0])
        assert (momentum.attrs["layer"], momentum.attrs["class"]) == ("hidden", "Dense")
    shown = tfdump("show", "scaled.weights-dump.h5")
    assert [line.split("\t")[0] for line in shown.stdout.splitlines()[1:]] == [
        *("weights/hidden.kernel", "weights/hidden.bias", "optimizer/iteration"),
        *("optimizer/dynamic_scale", "optimizer/iteration~1", "optimizer/momentum/hidden.kernel"),
        *("optimizer/momentum/hidden.bias", "optimizer/velocity/hidden.kernel", "optimizer/velocity/hidden.bias"),
    ]
    values = tfdump("cat", "scaled.weights-dump.h5", "optimizer/velocity/hidden.bias", "--format", "csv")
    np.testing.assert_allclose(
        [float(line) for line in values.stdout.split()[1:]], np.asarray(inner._velocities[1]), rtol=1e-6
    )
    assert tfdump("diff", "scaled.weights-dump.h5", "scaled.weights-dump.h5").returncode == 0


def test_a_model_in_memory_gives_what_its_file_gives(tmp_path: Path) -> None:
    model = trained(optimizers.Adam())
    model.save(tmp_path / "m.keras")
    stored, live = (tfdump.weights(one, optimizer=True).optimizer for one in (tmp_path / "m.keras", model))
    assert list(stored) == list(live)
    for name, value in live.items():
        np.testing.assert_array_equal(stored[name], value)


def test_a_variable_without_a_name_has_that_of_its_attribute(tmp_path: Path) -> None:
    model = trained(optimizers.Nadam())
    model.save(tmp_path / "m.keras")
    for one in (tmp_path / "m.keras", model, tmp_path / "m.keras"):
        held = tfdump.weights(one, optimizer=True).optimizer
        assert list(held)[:3] == ["iteration", "learning_rate", "u_product"]
        np.testing.assert_array_equal(held["u_product"], model.optimizer._u_product)


def test_a_learning_rate_that_changes_is_part_of_keras(tmp_path: Path, tfdump: Run) -> None:
    schedule = optimizers.schedules.CosineDecay(0.1, 10)
    model = trained(optimizers.LossScaleOptimizer(optimizers.SGD(schedule, momentum=0.9)))
    model.save(tmp_path / "scheduled.keras")
    model.save(tmp_path / "scheduled.h5")
    for name in ("scheduled.keras", "scheduled.h5"):
        done = tfdump("weights", name, "--optimizer", "-f", "-o", "w.h5")
        assert done.returncode == 0, done.stderr
        with h5py.File(tmp_path / "w.h5") as file:
            assert "learning_rate~1" not in file["optimizer"]
            momentum = model.optimizer.inner_optimizer.momentums[0]
            np.testing.assert_array_equal(file["optimizer/momentum/hidden.kernel"], momentum)


def test_what_has_no_optimizer_is_said(tmp_path: Path, tfdump: Run) -> None:
    model = trained(optimizers.Adam(), steps=0)
    model.save(tmp_path / "untrained.keras")
    done = tfdump("weights", "untrained.keras", "--optimizer")
    assert "the optimizer of untrained.keras has taken no step" in done.stderr
    with h5py.File(tmp_path / "untrained.weights-dump.h5") as file:
        assert list(file["optimizer"]) == ["iteration", "learning_rate"]
    plain = keras.Model(model.inputs, model.outputs, name="plain")
    plain.save(tmp_path / "plain.keras")
    done = tfdump("weights", "plain.keras", "--optimizer")
    assert (done.returncode, done.stderr) == (
        2,
        "Error: --optimizer: plain.keras was saved without an optimizer (compile the model before you save it)\n",
    )
    model.save(tmp_path / "without.h5", include_optimizer=False)
    assert tfdump("weights", "without.h5", "--optimizer").returncode == 2
    assert not (tmp_path / "without.weights-dump.h5").exists()


def test_the_slots_of_frozen_layers_do_not_fit(tmp_path: Path, tfdump: Run) -> None:
    model = trained(optimizers.Adam())
    model.get_layer("hidden").trainable = False
    model.save(tmp_path / "frozen.keras")
    done = tfdump("weights", "frozen.keras", "--optimizer")
    assert done.returncode == 2
    assert "holds 10 variables of its optimizer, and Adam has 6 for the trainable weights" in done.stderr
