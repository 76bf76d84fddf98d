"""Files that earlier releases of Keras 3 saved give what they gave there."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import tfdump
from support import zoo
from support.combinations import combinations
from support.command import ROOT
from support.gradient_routes import assert_gradients, assert_near

pytestmark = [pytest.mark.tensorflow, pytest.mark.filterwarnings("ignore::tfdump.TfdumpWarning")]

DATA = ROOT / "tests" / "data"
RELEASES = ["3.3", "3.8", "3.10"]
FILES = ["one.keras", "one.h5", "list.keras", "dict.keras", "two.keras", "nested.keras", "sequential.keras"]

CASES = [pytest.param(release, name, id=f"{release}-{name}") for release in RELEASES for name in FILES]


def stored(release: str, name: str) -> dict[str, dict[str, Any]]:
    """What was worked out where the file was saved: by kind, and by address or output."""
    arrays: dict[str, dict[str, Any]] = {}
    with np.load(DATA / f"keras-{release}" / "expected.npz") as archive:
        for key in archive.files:
            case, _, what = key.partition("/")
            if case == name:
                kind, _, address = what.partition(":")
                arrays.setdefault(kind, {})[address] = archive[key]
    return arrays


def model_of(release: str, name: str) -> Path:
    return DATA / f"keras-{release}" / name


@pytest.mark.parametrize(("release", "name"), CASES)
def test_activations_and_outputs(release: str, name: str, tmp_path: Path) -> None:
    known = stored(release, name)
    np.save(tmp_path / "x.npy", known["x"][""])
    dump = tmp_path / "a.h5"
    status, stderr = zoo.command("activations", model_of(release, name), tmp_path / "x.npy", "-o", dump)
    assert status == 0, stderr
    with h5py.File(dump) as file:
        assert set(file["activations"]) == set(known["act"])
        assert set(file["outputs"]) == set(known["out"])
        for group, kind in (("activations", "act"), ("outputs", "out")):
            for address, value in known[kind].items():
                assert_near(file[group][address][()], value, message=address)


@pytest.mark.parametrize(("release", "name"), CASES)
def test_the_loss_it_was_compiled_with(release: str, name: str, tmp_path: Path) -> None:
    """On the command line, where two outputs have targets of their own."""
    known = stored(release, name)
    np.save(tmp_path / "x.npy", known["x"][""])
    np.savez(tmp_path / "y.npz", **known["y"])
    single = next(iter(known["y"].values()))
    np.save(tmp_path / "y.npy", single)
    targets = tmp_path / ("y.npy" if len(known["y"]) == 1 else "y.npz")
    dump = tmp_path / "g.h5"
    options = ("--targets", targets, "--batch-size", 2, "-o", dump)
    status, stderr = zoo.command("gradients", model_of(release, name), tmp_path / "x.npy", *options)
    assert status == 0, stderr
    with h5py.File(dump) as file:
        assert_near(file["loss"][()], known["loss"][""])
        assert_gradients({key: value[()] for key, value in file["gradients/weights"].items()}, known["grad"])


@pytest.mark.parametrize(
    ("release", "name"),
    combinations(RELEASES, FILES, tested=lambda *case: list(FILES).index(case[1]) % 3 == list(RELEASES).index(case[0])),
)
def test_a_loss_by_name_and_an_objective(release: str, name: str) -> None:
    known, model = stored(release, name), model_of(release, name)
    x = known["x"][""]
    names = list(known["y"])
    losses = [((known["out"][output] - known["y"][output]) ** 2).mean(-1) for output in names]
    gradients = tfdump.gradients(
        model, x, known["y"], loss="mse", batch_size=3, wrt=("weights", "activations", "inputs")
    )
    assert_near(gradients.loss, sum(values.mean() for values in losses))
    assert set(gradients.activations) == set(known["act"])
    each = tfdump.gradients(model, x, known["y"], loss="mse", per_example=True)
    assert_near(each.loss, sum(losses))
    shown = tfdump.gradients(model, x, objective=f"{names[0]}[0]", wrt="inputs")
    assert_near(shown.loss, known["out"][names[0]][:, 0].sum())
    assert_near(shown.inputs["x"], differences(model, x, names[0]), 2e-3)


def differences(model: Path, x: Any, output: str, step: float = 1e-2) -> Any:
    """The gradient of the first unit of an output, by central differences over every element of the input."""
    from tfdump.model.loading.load import load_model

    keras_model = load_model(model).model

    def first(values: Any) -> Any:
        outputs = keras_model(values)
        outputs = (
            outputs[output] if isinstance(outputs, dict) else outputs[int(output)] if output.isdigit() else outputs
        )
        return outputs.numpy()[:, 0]

    columns = []
    for column in range(x.shape[1]):
        move = np.zeros_like(x)
        move[:, column] = step
        columns.append((first(x + move) - first(x - move)) / (2 * step))
    return np.stack(columns, 1)
