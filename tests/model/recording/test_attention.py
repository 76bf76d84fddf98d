"""Attention scores of saved models, against scores worked out by hand in float64."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

import tfdump

pytestmark = pytest.mark.tensorflow
register = keras.saving.register_keras_serializable(package="attention_tests")

LENGTH, WIDTH = 5, 6


def data(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape or (4, LENGTH, WIDTH)).astype("float32")


def softmax(scores: np.ndarray) -> np.ndarray:
    raised = np.exp(scores - scores.max(-1, keepdims=True))
    return raised / raised.sum(-1, keepdims=True)


def saved(tmp_path: Path, model: keras.Model) -> Path:
    """The file of a model whose weights, biases too, are random."""
    rng = np.random.default_rng(3)
    for weight in model.weights:
        weight.assign(rng.standard_normal(weight.shape) * 0.5)
    model.save(tmp_path / "model.keras")
    return tmp_path / "model.keras"


def projected(layer: Any, x: np.ndarray) -> np.ndarray:
    kernel, bias = (np.asarray(weight, "float64") for weight in layer.weights)
    return np.einsum("b...w,whd->b...hd", x.astype("float64"), kernel) + bias


def by_hand(layer: Any, query: np.ndarray, key: np.ndarray, allowed: np.ndarray | None = None) -> np.ndarray:
    """(examples, heads, queries, keys); rows without any allowed key are left out of the comparison."""
    names = ("_query_dense", "_key_dense")
    q, k = (projected(getattr(layer, name), x) for name, x in zip(names, (query, key), strict=True))
    if q.shape[2] != k.shape[2]:
        k = np.repeat(k, q.shape[2] // k.shape[2], axis=2)
    scores = np.einsum("bthd,bshd->bhts", q, k) / np.sqrt(q.shape[-1])
    return softmax(scores if allowed is None else np.where(allowed, scores, -1e30))


def multi_head(**options: Any) -> Any:
    return layers.MultiHeadAttention(2, 3, name="attend", **options)


def grouped(**options: Any) -> Any:
    return layers.GroupQueryAttention(head_dim=3, num_query_heads=4, num_key_value_heads=2, name="attend", **options)


CAUSAL = np.tril(np.ones((LENGTH, LENGTH), bool))


@pytest.mark.parametrize("eager", [False, True], ids=["graph", "eager"])
@pytest.mark.parametrize("causal", [False, True], ids=["full", "causal"])
@pytest.mark.parametrize("dropout", [0.0, 0.5], ids=["fused", "explicit"])
@pytest.mark.parametrize("kind", [multi_head, grouped])
def test_scores_of_self_attention(tmp_path: Path, kind: Any, dropout: float, causal: bool, eager: bool) -> None:
    inputs, x = keras.Input((LENGTH, WIDTH)), data()
    attend = kind(dropout=dropout)
    model = keras.models.load_model(
        saved(tmp_path, keras.Model(inputs, attend(inputs, inputs, use_causal_mask=causal)))
    )
    got, plain = (tfdump.activations(model, x, attention=asked, eager=eager) for asked in (True, False))
    expected = by_hand(model.get_layer("attend"), x, x, CAUSAL if causal else None)
    np.testing.assert_allclose(got["attend:attention_scores"], expected, atol=2e-6)
    assert got.keys() - plain.keys() == {"attend:attention_scores"}
    for address, value in plain.items():
        np.testing.assert_array_equal(got[address], value, err_msg=address)


@pytest.mark.parametrize("dropout", [0.0, 0.5], ids=["fused", "explicit"])
def test_masks_and_rows_that_see_nothing(tmp_path: Path, dropout: float) -> None:
    query, value = keras.Input((LENGTH, WIDTH)), keras.Input((3, WIDTH))
    mask = keras.Input((LENGTH, 3), dtype="bool")
    path = saved(
        tmp_path,
        keras.Model([query, value, mask], multi_head(dropout=dropout)(query, value, attention_mask=mask)),
    )
    q, v = data(), data(4, 3, WIDTH, seed=1)
    allowed = np.random.default_rng(5).random((4, LENGTH, 3)) < 0.6
    allowed[0, 0] = False
    layer = keras.models.load_model(path).get_layer("attend")
    got = tfdump.activations(path, (q, v, allowed), attention=True)["attend:attention_scores"]
    sees_some = np.broadcast_to(allowed.any(-1)[:, None], got.shape[:3])
    np.testing.assert_allclose(got[sees_some], by_hand(layer, q, v, allowed[:, None])[sees_some], atol=2e-6)
    nothing = 0.0 if dropout else 1 / 3  # the explicit way multiplies by the mask once more
    np.testing.assert_allclose(got[0, :, 0], np.full((2, 3), nothing), atol=1e-6)


def test_padding_and_half_precision(tmp_path: Path) -> None:
    tokens = keras.Input((LENGTH,), dtype="int32")
    embedded = layers.Embedding(9, WIDTH, mask_zero=True, name="embed")(tokens)
    model = keras.Model(tokens, multi_head(dtype="mixed_float16")(embedded, embedded))
    path = saved(tmp_path, model)
    x = np.array([[1, 2, 3, 0, 0], [4, 5, 6, 7, 8]], "int32")
    got = tfdump.activations(path, x, attention=True)
    vectors = keras.models.load_model(path).get_layer("embed").get_weights()[0][x].astype("float16")
    layer = keras.models.load_model(path).get_layer("attend")
    expected = by_hand(layer, vectors, vectors, (x != 0)[:, None, None, :])
    assert got["attend:attention_scores"].dtype == np.float16
    np.testing.assert_allclose(got["attend:attention_scores"][1], expected[1], atol=5e-3)
    np.testing.assert_allclose(got["attend:attention_scores"][0, :, :3], expected[0, :, :3], atol=5e-3)


def test_inputs_of_rank_4(tmp_path: Path) -> None:
    inputs, x = keras.Input((2, 3, WIDTH)), data(4, 2, 3, WIDTH)
    path = saved(tmp_path, keras.Model(inputs, multi_head(attention_axes=(2,))(inputs, inputs)))
    layer = keras.models.load_model(path).get_layer("attend")
    got = tfdump.activations(path, x, attention=True)["attend:attention_scores"]
    rows = [by_hand(layer, x[:, row], x[:, row]) for row in range(2)]
    np.testing.assert_allclose(got, np.stack(rows, axis=1), atol=2e-6)


@pytest.mark.parametrize("mode", ["dot", "concat"])
def test_the_attention_layer_by_hand(tmp_path: Path, mode: str) -> None:
    query, value = keras.Input((LENGTH, WIDTH)), keras.Input((3, WIDTH))
    attend = layers.Attention(use_scale=True, score_mode=mode, dropout=0.3, name="attend")
    path = saved(tmp_path, keras.Model([query, value], attend([query, value])))
    q, v = data(), data(4, 3, WIDTH, seed=1)
    layer = keras.models.load_model(path).get_layer("attend")
    weights = {weight.name: float(np.asarray(weight)) for weight in layer.weights}
    if mode == "dot":
        scores = weights["scale"] * np.einsum("btw,bsw->bts", q, v)
    else:
        sums = np.tanh(weights["scale"] * (q[:, :, None] + v[:, None]))
        scores = weights["concat_score_weight"] * sums.sum(-1)
    got = tfdump.activations(path, (q, v), attention=True)
    np.testing.assert_allclose(got["attend:attention_scores"], softmax(scores), atol=2e-6)


def test_additive_attention_by_hand(tmp_path: Path) -> None:
    query, value = keras.Input((LENGTH, WIDTH)), keras.Input((3, WIDTH))
    attend = layers.AdditiveAttention(name="attend")
    path = saved(tmp_path, keras.Model([query, value], attend([query, value])))
    q, v = data(), data(4, 3, WIDTH, seed=1)
    (scale,) = keras.models.load_model(path).get_layer("attend").get_weights()
    expected = softmax((np.tanh(q[:, :, None] + v[:, None]) * scale).sum(-1))
    got = tfdump.activations(path, (q, v), attention=True)
    np.testing.assert_allclose(got["attend:attention_scores"], expected, atol=2e-6)


def attention_weights(x: Any) -> Any:
    return ops.softmax(ops.matmul(x, ops.transpose(x, (0, 2, 1))))


@register
class OwnSelfAttention(layers.Layer):
    """By `ops.softmax`, twice."""

    def call(self, x: Any) -> Any:
        for _ in range(2):
            x = ops.matmul(ops.softmax(ops.matmul(x, ops.transpose(x, (0, 2, 1)))), x)
        return x


@register
class Block(layers.Layer):
    """Not named for attention; a function that it calls is."""

    def call(self, x: Any) -> Any:
        return ops.matmul(attention_weights(x), x)


@register
class LinearAttention(layers.Layer):
    """Has no softmax."""

    def call(self, x: Any) -> Any:
        return ops.matmul(x, ops.matmul(ops.transpose(x, (0, 2, 1)), x))


def test_layers_of_the_users_own(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    inputs, x = keras.Input((LENGTH, WIDTH)), data() / 3
    hidden = OwnSelfAttention(name="own")(inputs)
    hidden = LinearAttention(name="linear")(Block(name="block")(hidden))
    head = layers.Dense(3, activation="softmax", name="head")(layers.Softmax(name="soft")(hidden))
    keras.Model(inputs, head).save(tmp_path / "model.keras")
    got = tfdump.activations(tmp_path / "model.keras", x, attention=True)
    first = softmax(np.einsum("btw,bsw->bts", x, x))
    hidden = first @ x
    second = softmax(np.einsum("btw,bsw->bts", hidden, hidden))
    np.testing.assert_allclose(got["own:attention_scores"], first, atol=2e-6)
    np.testing.assert_allclose(got["own:attention_scores.1"], second, atol=2e-6)
    block_in = got["own"]
    np.testing.assert_allclose(
        got["block:attention_scores"], softmax(np.einsum("btw,bsw->bts", block_in, block_in)), atol=2e-6
    )
    messages = " | ".join(str(warning.message) for warning in recwarn)
    assert "not captured: linear:attention_scores (no softmax was seen in it" in messages
    assert {address for address in got if ":attention" in address} == {
        "own:attention_scores", "own:attention_scores.1", "block:attention_scores",
    }  # fmt: skip


def test_a_layer_that_is_called_twice_and_a_node_of_the_graph(tmp_path: Path) -> None:
    inputs, x = keras.Input((LENGTH, WIDTH)), data()
    attend = multi_head()
    hidden = attend(attend(inputs, inputs), inputs)
    heads = ops.reshape(hidden, (-1, LENGTH, 2, 3))
    path = saved(tmp_path, keras.Model(inputs, ops.dot_product_attention(heads, heads, heads)))
    got = tfdump.activations(path, x, attention=True)
    layer = keras.models.load_model(path).get_layer("attend")
    np.testing.assert_allclose(got["attend:attention_scores"], by_hand(layer, x, x), atol=2e-6)
    np.testing.assert_allclose(got["attend@1:attention_scores"], by_hand(layer, got["attend"], x), atol=2e-6)
    split = got["attend@1"].reshape(4, LENGTH, 2, 3)
    expected = softmax(np.einsum("bthd,bshd->bhts", split, split) / np.sqrt(3))
    (node,) = [address for address in got if address.startswith("dot_product") and "scores" in address]
    np.testing.assert_allclose(got[node], expected, atol=2e-6)


def test_a_model_without_attention_says_so(recwarn: pytest.WarningsRecorder) -> None:
    inputs = keras.Input((3,))
    got = tfdump.activations(keras.Model(inputs, layers.Dense(2, name="d")(inputs)), data(4, 3), attention=True)
    assert set(got) == {"d"}
    assert any("attention=True: the model has no such tensors" in str(warning.message) for warning in recwarn)
