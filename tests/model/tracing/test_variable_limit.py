"""Models that declare far more memory than they come with: refused before it is asked for."""

import re
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

import tfdump
from support import hostile_files as hostile
from support.command import Ended, Run
from support.hostile_files import layer_of
from tfdump.errors import ModelError
from tfdump.files.limits import default_max_bytes
from tfdump.model.tracing.variable_limit import limited_variables

pytestmark = pytest.mark.tensorflow

HUGE = 300_000_000


def highest_memory() -> int:
    """The most memory that this process has had, in bytes."""
    return int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1]) << 10


def assert_refused(done: Ended, *words: str) -> None:
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    assert done.stderr.startswith("Error: ")
    for word in words:
        assert word in done.stderr, done.stderr


@pytest.mark.parametrize("ending", ["keras", "h5"])
def test_a_layer_far_larger_than_the_weights(tfdump: Run, tmp_path: Path, ending: str) -> None:
    path = hostile.harmless(tmp_path / f"m.{ending}")
    path = hostile.with_config(
        path, tmp_path / f"x.{ending}", lambda c: layer_of(c, "out")["config"].update(units=HUGE)
    )
    tfdump("layers", tmp_path / f"m.{ending}")
    before = highest_memory()
    assert_refused(tfdump("layers", path), f"x.{ending}", "'kernel' (3, 300000000) of layer 'out' takes 3.4 GiB")
    assert highest_memory() - before < 300 << 20
    assert_refused(tfdump("layers", path, "--trust-model", "--max-bytes", "1G"), "the 1.0 GiB allowed", "--max-bytes")


def test_an_embedding_in_a_sub_model(tfdump: Run, tmp_path: Path) -> None:
    x = keras.Input((3,), dtype="int32")
    inner = keras.Sequential([keras.Input((3,), dtype="int32"), layers.Embedding(10, 4, name="table")], name="inner")
    keras.Model(x, inner(x)).save(tmp_path / "m.keras")

    def change(config: dict[str, Any]) -> None:
        layer_of(config, "table")["config"]["input_dim"] = HUGE

    path = hostile.with_config(tmp_path / "m.keras", tmp_path / "x.keras", change)
    assert_refused(tfdump("layers", path), "(300000000, 4) of layer 'table'")


def test_a_layer_that_is_built_by_the_first_call(tfdump: Run, tmp_path: Path) -> None:
    keras.Sequential([layers.Dense(3, name="late")]).save(tmp_path / "m.keras")
    np.save(tmp_path / "x.npy", np.zeros((2, 4), "float32"))
    path = hostile.with_config(
        tmp_path / "m.keras", tmp_path / "x.keras", lambda c: layer_of(c, "late")["config"].update(units=HUGE)
    )
    for command in (["layers"], ["activations", "-o", "a.h5"], ["activations", "--eager", "-o", "a.h5"]):
        done = tfdump(command[0], path, "x.npy", *command[1:], "--max-bytes", "1GiB")
        assert_refused(done, "(4, 300000000)", "--max-bytes")
    assert not (tmp_path / "a.h5").exists()


def test_a_tensor_that_no_memory_holds(tfdump: Run, tmp_path: Path) -> None:
    """It has no weights; `layers` lists how large it would be, and running it is refused."""
    x = keras.Input((4,))
    keras.Model(x, layers.RepeatVector(HUGE, name="many")(x)).save(tmp_path / "m.keras")
    np.save(tmp_path / "x.npy", np.zeros((2, 4), "float32"))
    listed = tfdump("layers", "m.keras")
    assert listed.returncode == 0
    assert str(HUGE * 16) in listed.stdout.replace(",", "")
    for command in (["activations", "m.keras", "x.npy"], ["gradients", "m.keras", "x.npy", "--objective", "sum"]):
        done = tfdump(*command, *(("--wrt", "inputs") if "--objective" in command else ()), "--max-bytes", "1GiB")
        assert_refused(done, "one example takes about", "--max-bytes")


def test_a_batch_size_that_no_memory_holds(tfdump: Run, tmp_path: Path) -> None:
    """The inputs are refused before they are padded to it; the graph, which tells as much, comes later."""
    x = keras.Input(batch_shape=(HUGE, 4))
    keras.Model(x, layers.Dense(2, name="out")(x)).save(tmp_path / "m.keras")
    np.save(tmp_path / "x.npy", np.zeros((2, 4), "float32"))
    before = highest_memory()
    for command in (["activations", "m.keras", "x.npy"], ["gradients", "m.keras", "x.npy", "--objective", "sum"]):
        done = tfdump(*command, "--max-bytes", "1GiB")
        assert_refused(done, "a batch of 300000000 examples, padded for the model, takes 4.5 GiB", "--max-bytes")
    assert highest_memory() - before < 300 << 20


def test_a_limit_in_python(tmp_path: Path) -> None:
    path = hostile.harmless(tmp_path / "m.keras")
    x = np.zeros((2, 4), "float32")
    assert list(tfdump.activations(path, x, max_bytes="1MiB")) == ["block.hidden", "block", "out"]
    for limit in (1000, "1k"):
        with pytest.raises(ModelError, match="max_bytes"):
            tfdump.activations(path, x, max_bytes=limit)
        with pytest.raises(ModelError, match="max_bytes"):
            tfdump.layers(path, max_bytes=limit)
        with pytest.raises(ModelError, match="max_bytes"):
            tfdump.gradients(path, x, objective="sum", max_bytes=limit)


def one_too_many(swallowed: bool) -> None:
    """Make variables of 4004 bytes where 4000 are allowed; Keras may keep the error to itself."""
    with limited_variables(4000):
        keras.Variable("zeros", (1000,))
        with suppress(ModelError) if swallowed else nullcontext():
            keras.Variable("zeros", (1,), name="more")


def test_variables_are_counted_and_the_class_is_left_as_it_was() -> None:
    make = keras.Variable.__init__
    with limited_variables(4000):
        made = [keras.Variable("zeros", (500,)), keras.Variable("zeros", (500,))]
    assert [variable.shape for variable in made] == [(500,), (500,)]
    for swallowed in (False, True):
        with pytest.raises(ModelError, match=r"'more' \(1,\).*--max-bytes"):
            one_too_many(swallowed)
    assert keras.Variable.__init__ is make


def test_a_share_of_the_memory_is_the_limit() -> None:
    total = int(re.search(r"MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text())[1]) << 10
    assert 0 < default_max_bytes() <= total // 4 + (1 << 20)
