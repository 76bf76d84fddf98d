"""Models of keras-hub in tiny configurations, saved and dumped by the command with the scores of their attention.

The tensors are compared with an eager pass; the scores with those worked out by hand from the queries and keys, or
with what the layer makes of them.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import tfdump
from support import eager_recorder, hub_models, zoo
from support.combinations import combinations
from support.command import Run

pytestmark = [pytest.mark.tensorflow, pytest.mark.filterwarnings("ignore")]

IMPORT = ("--import", "keras_hub")
SCORES = ":attention_scores"
EXAMPLES = 3
COUNTS = {
    "BertBackbone": 2,
    "GPT2Backbone": 2,
    "GemmaBackbone": 2,
    "WhisperBackbone": 6,
    "ViTBackbone": 2,
    "SAMBackbone": 2,
    "StableDiffusion3Backbone": 12,
    "MixtralBackbone": 2,
}
"""The models, and how many attention layers each of them has."""

LARGEST = "StableDiffusion3Backbone"


@dataclass(frozen=True)
class Hub:
    """A saved model with random weights, its inputs, what tfdump gave of it, and the model as Keras loads it."""

    name: str
    path: Path
    x: dict[str, np.ndarray]
    dump: zoo.Dumped
    model: Any

    @property
    def scores(self) -> dict[str, np.ndarray]:
        """The attention scores by the address of the layer."""
        values = self.dump.values
        return {address.removesuffix(SCORES): value for address, value in values.items() if address.endswith(SCORES)}


@pytest.fixture(scope="module")
def hub(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Hub:
    """One model, dumped once for all tests of it."""
    zoo.fresh()
    model = hub_models.MODELS[request.param]()
    rng = np.random.default_rng(1)
    for weight in model.trainable_weights:
        weight.assign(weight + 0.1 * rng.standard_normal(weight.shape).astype(weight.dtype))
    path = tmp_path_factory.mktemp(request.param) / "model.keras"
    model.save(path)
    x = hub_models.sample_inputs(model, EXAMPLES)
    dump = zoo.dumped(path, x, *IMPORT, "--attention", "--batch-size", EXAMPLES)
    del model
    zoo.fresh()
    return Hub(request.param, path, x, dump, keras.models.load_model(path, compile=False))


def of(*names: str) -> pytest.MarkDecorator:
    """Let a test be about these models, the largest of them only in `make sweep`."""
    return pytest.mark.parametrize("hub", combinations(names, tested=lambda name: name != LARGEST), indirect=True)


def softmax(scores: np.ndarray) -> np.ndarray:
    raised = np.exp(scores - scores.max(-1, keepdims=True))
    return raised / raised.sum(-1, keepdims=True)


def allowed(address: str, x: dict[str, np.ndarray], shape: tuple[int, ...]) -> np.ndarray:
    """Which keys a query may see: (examples, 1, queries, keys)."""
    queries, keys = shape[-2:]
    visible = np.ones((shape[0], 1, queries, keys), bool)
    decoder = "decoder" in address and "cross" not in address
    if decoder or "padding_mask" in x:
        mask = x["decoder_padding_mask" if decoder else "padding_mask"].astype(bool)
        visible &= mask[:, None, None, :]
    if decoder or address.startswith("gpt"):
        visible &= np.tril(np.ones((queries, keys), bool))
    return visible


@of(*COUNTS)
def test_every_tensor_equals_that_of_an_eager_pass(hub: Hub) -> None:
    values = {address: value for address, value in hub.dump.values.items() if not address.endswith(SCORES)}
    calls, outputs = eager_recorder.record(hub.model, hub_models.argument(hub.model, hub.x), training=False)
    compared = eager_recorder.compare(values, calls, list(hub.dump.missing))
    assert compared.tensors == len(values) > 20
    for value, expected in zip(hub.dump.outputs.values(), keras.tree.flatten(outputs), strict=True):
        eager_recorder.difference(value, expected, "an output")


@of(*COUNTS)
def test_every_attention_layer_gives_scores(hub: Hub) -> None:
    assert len(hub.scores) == COUNTS[hub.name]
    for value in hub.scores.values():
        np.testing.assert_allclose(np.asarray(value, "float64").sum(-1), 1, atol=1e-5)
    assert not [address for address in hub.dump.missing if SCORES in address]


@of("BertBackbone", "GPT2Backbone", "WhisperBackbone", "ViTBackbone")
def test_scores_by_hand(hub: Hub) -> None:
    for layer, value in hub.scores.items():
        query, key = (hub.dump.values[f"{layer}.{part}"].astype("float64") for part in ("query", "key"))
        logits = np.einsum("bthd,bshd->bhts", query, key) / np.sqrt(query.shape[-1])
        visible = allowed(f"gpt.{layer}" if hub.name == "GPT2Backbone" else layer, hub.x, value.shape)
        np.testing.assert_allclose(value, softmax(np.where(visible, logits, -1e9)), atol=1e-5, err_msg=layer)


@of("GemmaBackbone", "MixtralBackbone")
def test_the_layer_takes_the_mean_of_its_values_by_the_scores(hub: Hub) -> None:
    """Where rotations and shared keys stand between: what leaves the layer is its projection of that mean."""
    for layer, scores in hub.scores.items():
        value = np.repeat(hub.dump.values[f"{layer}.value"], 2, axis=2).astype("float64")
        weights = scores.reshape(EXAMPLES, 2, *scores.shape[-2:])
        mean = np.einsum("bhts,bshd->bthd", weights, value)
        owner = next(item for item in hub.model._flatten_layers() if item.name == layer.partition(".")[0])
        projection = next(item for item in owner._flatten_layers() if item.name == "attention_output")
        expected = np.einsum("bthd,hdw->btw", mean, np.asarray(projection.kernel, "float64"))
        np.testing.assert_allclose(hub.dump.values[f"{layer}.attention_output"], expected, atol=1e-5, err_msg=layer)


@of("MixtralBackbone")
def test_layers_lists_what_activations_dumps(hub: Hub) -> None:
    zoo.fresh()
    assert [tensor.address for tensor in tfdump.layers(hub.path, attention=True)] == list(hub.dump.values)


@of("MixtralBackbone")
def test_without_the_scores_every_number_is_the_same(hub: Hub) -> None:
    plain = zoo.dumped(hub.path, hub.x, *IMPORT, "--batch-size", EXAMPLES)
    assert list(plain.values) == [address for address in hub.dump.values if not address.endswith(SCORES)]
    for values, others in ((plain.values, hub.dump.values), (plain.outputs, hub.dump.outputs)):
        assert all(eager_recorder.identical(value, others[address]) for address, value in values.items())


@of("BertBackbone")
def test_gradients_of_the_weights_of_bert(hub: Hub, tmp_path: Path) -> None:
    """Against GradientTape over the model itself."""
    import tensorflow as tf

    np.savez(tmp_path / "x.npz", **hub.x)
    command = ["gradients", hub.path, tmp_path / "x.npz", "--objective", "sum", "-o", tmp_path / "g.h5"]
    status, stderr = zoo.command(*command, "-l", "transformer_layer_1*", *IMPORT)
    assert status == 0, stderr
    layer = hub.model.get_layer("transformer_layer_1")
    name = "sequence_output"
    with tf.GradientTape() as tape:
        outputs = hub.model(hub.x)
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


@of("BertBackbone")
def test_keras_hub_is_imported_only_when_the_user_says_so(hub: Hub, tfdump_forked: Run) -> None:
    """Keras would import it by itself for a file that names it."""
    done = tfdump_forked("layers", hub.path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "--import keras_hub" in done.stderr
    done = tfdump_forked("layers", hub.path, *IMPORT)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[1].startswith("token_embedding	")
