"""Attention scores of keras-hub's models: by hand from the queries and keys, and by what the layer makes of them."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import hub_models
import zoo

pytestmark = [pytest.mark.tensorflow, pytest.mark.filterwarnings("ignore")]

SCORES = ":attention_scores"


def dumped(name: str, tmp_path: Path) -> tuple[zoo.Dumped, dict[str, np.ndarray], Any]:
    """What tfdump gives of a saved model with random biases, its inputs, and the model."""
    zoo.fresh()
    model = hub_models.MODELS[name]()
    rng = np.random.default_rng(1)
    for weight in model.trainable_weights:
        weight.assign(weight + 0.1 * rng.standard_normal(weight.shape).astype(weight.dtype))
    model.save(tmp_path / "model.keras")
    x = hub_models.sample_inputs(model, 3)
    found = zoo.dumped(tmp_path / "model.keras", x, "--import", "keras_hub", "--attention", "--batch-size", 3)
    zoo.fresh()
    return found, x, keras.models.load_model(tmp_path / "model.keras", compile=False)


def softmax(scores: np.ndarray) -> np.ndarray:
    raised = np.exp(scores - scores.max(-1, keepdims=True))
    return raised / raised.sum(-1, keepdims=True)


def allowed(address: str, x: dict[str, np.ndarray], shape: tuple[int, ...]) -> np.ndarray:
    """Which keys a query may see: (examples, 1, queries, keys)."""
    queries, keys = shape[-2:]
    seen = np.ones((shape[0], 1, queries, keys), bool)
    decoder = "decoder" in address and "cross" not in address
    if decoder or "padding_mask" in x:
        mask = x["decoder_padding_mask" if decoder else "padding_mask"].astype(bool)
        seen &= mask[:, None, None, :]
    if decoder or address.startswith("gpt"):
        seen &= np.tril(np.ones((queries, keys), bool))
    return seen


@pytest.mark.parametrize(
    ("name", "count"), [("BertBackbone", 2), ("GPT2Backbone", 2), ("WhisperBackbone", 6), ("ViTBackbone", 2)]
)
def test_scores_by_hand(tmp_path: Path, name: str, count: int) -> None:
    found, x, _ = dumped(name, tmp_path)
    scores = {address: value for address, value in found.values.items() if address.endswith(SCORES)}
    assert len(scores) == count
    for address, value in scores.items():
        layer = address.removesuffix(SCORES)
        query, key = (found.values[f"{layer}.{part}"].astype("float64") for part in ("query", "key"))
        logits = np.einsum("bthd,bshd->bhts", query, key) / np.sqrt(query.shape[-1])
        seen = allowed(f"gpt.{layer}" if name == "GPT2Backbone" else layer, x, value.shape)
        np.testing.assert_allclose(value, softmax(np.where(seen, logits, -1e9)), atol=1e-5, err_msg=address)


@pytest.mark.parametrize(("name", "count"), [("GemmaBackbone", 2), ("MixtralBackbone", 2)])
def test_the_layer_takes_the_mean_of_its_values_by_the_scores(tmp_path: Path, name: str, count: int) -> None:
    """Where rotations and shared keys stand between: what leaves the layer is its projection of that mean."""
    found, _, model = dumped(name, tmp_path)
    scores = {address: value for address, value in found.values.items() if address.endswith(SCORES)}
    assert len(scores) == count
    for address, weights in scores.items():
        layer = address.removesuffix(SCORES)
        value = np.repeat(found.values[f"{layer}.value"], 2, axis=2).astype("float64")
        mean = np.einsum("bhts,bshd->bthd", weights.reshape(3, 2, *weights.shape[-2:]), value)
        owner = next(item for item in model._flatten_layers() if item.name == layer.partition(".")[0])
        projection = next(item for item in owner._flatten_layers() if item.name == "attention_output")
        expected = np.einsum("bthd,hdw->btw", mean, np.asarray(projection.kernel, "float64"))
        np.testing.assert_allclose(found.values[f"{layer}.attention_output"], expected, atol=1e-5, err_msg=address)


@pytest.mark.parametrize(("name", "count"), [("SAMBackbone", 2), ("StableDiffusion3Backbone", 12)])
def test_every_attention_layer_gives_scores(tmp_path: Path, name: str, count: int) -> None:
    found, _, _ = dumped(name, tmp_path)
    scores = [value for address, value in found.values.items() if address.endswith(SCORES)]
    assert len(scores) == count
    for value in scores:
        np.testing.assert_allclose(np.asarray(value, "float64").sum(-1), 1, atol=1e-5)
    assert not [address for address in found.missing if SCORES in address]
