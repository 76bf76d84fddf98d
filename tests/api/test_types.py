"""The types of the public API, as mypy --strict sees them in the code of a user."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

RIGHT = """
from typing import Any, assert_type

import numpy as np
import numpy.typing as npt

import tfdump
from tfdump.tensors import Ragged, Sparse
from tfdump.testing import assert_dumps_match, assert_models_match

x = np.zeros((4, 3), np.float32)
y = [[1.0], [0.0], [1.0], [1.0]]

acts = tfdump.activations("model.keras", x, layers="conv*", batch_size=4, memory="1G", attention=True)
assert_type(acts, tfdump.Activations)
by_address: dict[str, npt.NDArray[Any] | Ragged | Sparse | list[Any]] = acts
assert_type(acts["conv1"], npt.NDArray[Any] | Ragged | Sparse | list[Any])
assert_type(tfdump.activations("model.keras", x, until_nan=True, allow_inf=True).example, int | None)

grads = tfdump.gradients("model.keras", {"left": x, "right": x}, y, loss="mse", wrt=("weights", "inputs"), steps=2)
assert_type(grads, tfdump.Gradients)
assert_type(grads.weights, dict[str, Any])
assert_type(list(grads), list[str])

(listed,) = tfdump.layers("model.keras")
assert_type(listed.address, str)
assert_type(listed.shape, tuple[int, ...] | None)

report = tfdump.diff("golden.h5", "new.h5", rtol={"logits": 1e-3}, ignore="dropout*")
assert_type(report, tfdump.DiffReport)
assert_type(report.same, bool)
assert_type(report.first, tfdump.TensorDiff | None)
assert_type(assert_dumps_match("golden.h5", "new.h5", rtol=1e-3), tfdump.DiffReport)
assert_type(tfdump.compare("model.keras", "model.tflite", x, first=True, rtol=1e-3), tfdump.DiffReport)
assert_type(assert_models_match("golden.h5", "model.tflite", "x.npy", new_dequantize=True), tfdump.DiffReport)

checked = tfdump.check("dump.h5", dead_examples=100)
assert_type(checked.failed, bool)

with tfdump.open("dump.h5") as dump:
    assert_type(dump, tfdump.Dump)
    assert_type(dump["conv1"], tfdump.Tensor)
    assert_type(dump["conv1"][:4], npt.NDArray[Any])
    assert_type(tfdump.diff(dump, {"conv1": x}).same, bool)

callback = tfdump.DumpCallback("run", x, y, wrt="weights", every=2, on="batch", keep=3)
assert_type(callback, tfdump.DumpCallback)

try:
    tfdump.open("nothing.h5")
except tfdump.TfdumpError as error:
    assert_type(error, tfdump.TfdumpError)
assert_type(tfdump.__version__, str)
"""

WRONG = {
    'tfdump.activations("m.keras", [[1.0]], layer="conv*")': "call-arg",
    'tfdump.activations("m.keras", [[1.0]], batch_size="many")': "arg-type",
    'tfdump.activations("m.keras", data={"random": 8})': "arg-type",
    'tfdump.gradients("m.keras", [[1.0]], [[1.0]], losses="mse")': "call-arg",
    'tfdump.gradients("m.keras", [[1.0]], steps="two")': "arg-type",
    'tfdump.layers("m.keras", 3, "conv*")': "(call-arg|misc)",
    'tfdump.diff("a.h5")': "call-arg",
    'tfdump.diff("a.h5", "b.h5", tolerance=1.0)': "call-arg",
    'tfdump.check("a.h5", fail_on=3)': "arg-type",
    'tfdump.open("a.h5", mode="r")': "call-arg",
    'tfdump.DumpCallback("run", [[1.0]], evry=2)': "call-arg",
    "tfdump.activation": "attr-defined",
    'assert_type(tfdump.layers("m.keras"), int)': "assert-type",
}
"""What a user writes by mistake, and the code of the error, which differs between versions of mypy."""


@pytest.fixture(scope="module")
def messages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """The messages of mypy on two files by their names: every line `NUMBER: MESSAGE`."""
    folder: Path = tmp_path_factory.mktemp("types")
    (folder / "right.py").write_text(RIGHT)
    (folder / "wrong.py").write_text("from typing import assert_type\nimport tfdump\n" + "\n".join(WRONG) + "\n")
    options = ["--strict", "--config-file=", "--cache-dir=cache", "--hide-error-context"]
    done = subprocess.run(
        [sys.executable, "-m", "mypy", *options, "right.py", "wrong.py"], cwd=folder, capture_output=True, text=True
    )
    assert done.stderr == ""
    lines = [line.partition(":") for line in done.stdout.splitlines() if not line.startswith("Found ")]
    assert {name for name, _, _ in lines} <= {"right.py", "wrong.py"}, done.stdout
    return {file: [text for name, _, text in lines if name == file] for file in ("right.py", "wrong.py")}


def test_the_results_have_the_types_that_are_declared(messages: dict[str, list[str]]) -> None:
    assert messages["right.py"] == []


@pytest.mark.parametrize(("call", "code"), WRONG.items())
def test_a_wrong_call_is_an_error(messages: dict[str, list[str]], call: str, code: str) -> None:
    number = list(WRONG).index(call) + 3
    errors = [text for text in messages["wrong.py"] if text.startswith(f"{number}: error: ")]
    assert len(errors) == 1, messages["wrong.py"]
    assert re.search(rf"\[{code}\]$", errors[0]), errors
