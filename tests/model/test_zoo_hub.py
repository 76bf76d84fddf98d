"""Models of keras-hub in tiny configurations, saved and dumped by the command, against an eager pass."""

from pathlib import Path

import keras
import numpy as np
import pytest

import eager_recorder
import hub_models
import tfdump
import zoo
from conftest import Run

pytestmark = [pytest.mark.tensorflow, pytest.mark.filterwarnings("ignore")]

IMPORT = ("--import", "keras_hub")


def saved(name: str, tmp_path: Path, examples: int = 3) -> tuple[Path, dict[str, np.ndarray]]:
    zoo.fresh()
    model = hub_models.MODELS[name]()
    model.save(tmp_path / "model.keras")
    return tmp_path / "model.keras", hub_models.sample_inputs(model, examples)


@pytest.mark.parametrize(
    "name",
    [
        "BertBackbone",
        "GPT2Backbone",
        "GemmaBackbone",
        "WhisperBackbone",
        "ViTBackbone",
        "SAMBackbone",
        "StableDiffusion3Backbone",
        "MixtralBackbone",
    ],
)
def test_every_tensor_equals_that_of_an_eager_pass(tmp_path: Path, name: str) -> None:
    path, x = saved(name, tmp_path)
    found = zoo.dumped(path, x, *IMPORT)
    zoo.fresh()
    model = keras.models.load_model(path, compile=False)
    calls, outputs = eager_recorder.record(model, hub_models.argument(model, x), training=False)
    compared = eager_recorder.compare(found.values, calls, list(found.missing))
    assert compared.tensors == len(found.values) > 20
    for value, expected in zip(found.outputs.values(), keras.tree.flatten(outputs), strict=True):
        eager_recorder.difference(value, expected, "an output")


def test_layers_lists_what_activations_dumps(tmp_path: Path) -> None:
    path, x = saved("MixtralBackbone", tmp_path)
    found = zoo.dumped(path, x, *IMPORT)
    zoo.fresh()
    listed = tfdump.layers(path)
    assert [tensor.address for tensor in listed] == list(found.values)


def test_gradients_of_the_weights_of_bert(tmp_path: Path) -> None:
    """Against GradientTape over the model itself."""
    import tensorflow as tf

    path, x = saved("BertBackbone", tmp_path)
    np.savez(tmp_path / "x.npz", **x)
    command = ["gradients", path, tmp_path / "x.npz", "--objective", "sum", "-o", tmp_path / "g.h5"]
    status, said = zoo.command(*command, "-l", "transformer_layer_1*", *IMPORT)
    assert status == 0, said
    model = keras.models.load_model(path, compile=False)
    layer = model.get_layer("transformer_layer_1")
    name = "sequence_output"
    with tf.GradientTape() as tape:
        outputs = model(x)
        total = sum(tf.reduce_sum(tf.cast(output, "float64")) for output in outputs.values())
    assert name in outputs
    wanted = tape.gradient(total, [weight.value for weight in layer.trainable_weights])
    with tfdump.open(tmp_path / "g.h5") as dump:
        got = [dump[address].read() for address in dump.groups["gradients/weights"]]
    assert len(got) == len(wanted) == 16
    by_shape = sorted((value.shape, float(np.abs(value).sum())) for value in got)
    expected = sorted((tuple(value.shape), float(np.abs(value).sum())) for value in wanted)
    for (shape, size), (other_shape, other) in zip(by_shape, expected, strict=True):
        assert shape == other_shape
        np.testing.assert_allclose(size, other, rtol=1e-3, atol=1e-4)


def test_keras_hub_is_imported_only_when_the_user_says_so(tmp_path: Path, tfdump_process: Run) -> None:
    """Keras would import it by itself for a file that names it."""
    path, _ = saved("BertBackbone", tmp_path)
    done = tfdump_process("layers", path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "--import keras_hub" in done.stderr
    done = tfdump_process("layers", path, *IMPORT)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[1].startswith("token_embedding\t")
