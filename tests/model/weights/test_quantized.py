"""Quantized weights: the integers are those in the file, and the real numbers those with which the layer computes."""

import io
import zipfile
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
from keras import layers
from keras.quantizers import AWQConfig, GPTQConfig, Int4QuantizationConfig

import tfdump
from support.command import Run

pytestmark = pytest.mark.tensorflow

PLAIN = {
    "int8": "int8",
    "float8": "float8",
    "int4 per channel": Int4QuantizationConfig(block_size=-1),
    "int4 in groups": Int4QuantizationConfig(block_size=4),
}


def network() -> keras.Model:
    """Every kind of layer that Keras quantizes; widths are odd, so that halves of bytes are padded."""
    keras.utils.set_random_seed(5)
    ids = keras.Input((6,), dtype="int32", name="ids")
    table = layers.Embedding(11, 7, name="table")
    both = layers.ReversibleEmbedding(11, 7, tie_weights=False, name="both")
    x = table(ids) + both(ids)
    x = x + layers.Dense(7, name="back")(both(x, reverse=True))
    x = layers.Dense(5, name="dense")(x)
    x = layers.EinsumDense("abc,cde->abde", output_shape=(None, 3, 3), bias_axes="de", name="heads")(x)
    x = layers.EinsumDense("abde,dec->abc", output_shape=(None, 9), name="join")(x)
    return keras.Model(ids, x)


def computed(model: keras.Model) -> dict[str, Any]:
    """What the layers compute with: their outputs for unit inputs, without bias and without rounding the inputs."""
    layer = model.get_layer
    for name in ("dense", "heads", "join", "both"):
        layer(name).inputs_quantizer = None
    values = {
        "dense.kernel": layer("dense")(np.eye(7, dtype="float32")) - np.asarray(layer("dense").bias),
        "heads.kernel": layer("heads")(np.eye(5, dtype="float32")[None])[0] - np.asarray(layer("heads").bias),
        "join.kernel": layer("join")(np.eye(9, dtype="float32").reshape(1, 9, 3, 3))[0],
        "table.embeddings": layer("table")(np.arange(11)),
        "both.embeddings": layer("both")(np.arange(11)),
        "both.reverse_embeddings": layer("both")(np.eye(7, dtype="float32"), reverse=True),
    }
    shapes = {"join.kernel": (3, 3, 9)}
    return {name: np.asarray(value).reshape(shapes.get(name, value.shape)) for name, value in values.items()}


def from_attributes(integers: np.ndarray, attributes: dict[str, Any]) -> np.ndarray:
    """The real numbers by docs/format.md: (q - zero_point) * scale, one place after the other."""
    scale, zero = np.asarray(attributes["scale"]), np.asarray(attributes["zero_point"])
    axes, axis = attributes.get("group_axes"), attributes.get("quantized_axis")
    real = np.zeros(integers.shape)
    for place in np.ndindex(integers.shape):
        at = place if scale.ndim == integers.ndim else ()
        at = tuple(i if n > 1 else 0 for i, n in zip(at, scale.shape, strict=True)) if at else at
        if axis is not None:
            at = (place[axis],)
        if axes is not None:
            row = np.ravel_multi_index([place[a] for a in axes], [integers.shape[a] for a in axes])
            rest = [place[a] for a in range(integers.ndim) if a not in axes]
            at = (int(attributes["group_index"][row]), *rest)
        real[place] = (int(integers[place]) - (zero[at] if zero.ndim else zero)) * scale[at]
        if "input_scale" in attributes:
            real[place] /= attributes["input_scale"][row]
    return real


@pytest.fixture(scope="module", params=PLAIN, ids=str)
def quantized(request: pytest.FixtureRequest) -> tuple[str, keras.Model]:
    how, model = PLAIN[request.param], network()
    model.quantize(how) if isinstance(how, str) else model.quantize(config=how)
    return request.param.split()[0], model


def test_dequantized_weights_are_what_the_layers_compute_with(quantized: tuple[str, keras.Model]) -> None:
    scheme, model = quantized
    raw, real = tfdump.weights(model), tfdump.weights(model, dequantize=True)
    for address, expected in computed(model).items():
        np.testing.assert_allclose(real[address], expected, rtol=2e-7, atol=1e-7, err_msg=address)
        attributes = raw.attributes[address]
        if scheme == "float8":
            assert attributes.get("quantization", "float8") == "float8"
            continue
        assert attributes["quantization"] == attributes["dtype"] == scheme
        assert raw[address].dtype == np.int8
        assert real.attributes[address]["quantized_dtype"] == scheme
        assert real.attributes[address]["dtype"] == "float32"
        np.testing.assert_allclose(from_attributes(raw[address], attributes), expected, rtol=1e-6, atol=1e-6)
    if scheme == "float8":
        assert real.attributes["dense.kernel"]["quantized_dtype"] == "float8_e4m3fn"
        assert (raw["dense.kernel"] != real["dense.kernel"]).any()
        assert raw["dense.kernel_amax_history"].shape == (1024,)


CALIBRATED = {
    "gptq of 4 bits": GPTQConfig([0], str, weight_bits=4, group_size=3),
    "gptq of 8 bits": GPTQConfig([0], str, weight_bits=8, group_size=-1),
    "awq in groups": AWQConfig([0], str, group_size=3),
}


@pytest.mark.parametrize("name", CALIBRATED)
def test_calibrated_weights_are_what_the_layers_compute_with(name: str) -> None:
    """The integers are drawn: calibration takes a minute, and its results are no other."""
    scheme, rng, model = name.split(maxsplit=1)[0], np.random.default_rng(2), network()
    for layer in (model.get_layer(place) for place in ("dense", "heads", "join")):
        layer.quantize(scheme, config=CALIBRATED[name])
        del layer._kernel
        layer._trainable_variables[:] = [v for v in layer._trainable_variables if v.name != "kernel"]
        groups = layer.kernel_scale.shape[1]
        layer.quantized_kernel.assign(rng.integers(0, 256, layer.quantized_kernel.shape))
        layer.kernel_zero.assign(rng.integers(0, 16, layer.kernel_zero.shape))
        layer.kernel_scale.assign(rng.uniform(0.5, 2, layer.kernel_scale.shape))
        layer.g_idx.assign(rng.integers(0, groups, layer.g_idx.shape))
        if scheme == "awq":
            layer.awq_scales.assign(rng.uniform(0.5, 2, layer.awq_scales.shape))
        setattr(layer, f"is_{scheme}_calibrated", True)
    raw, real = tfdump.weights(model), tfdump.weights(model, dequantize=True)
    for address in ("dense.kernel", "heads.kernel", "join.kernel"):
        expected, attributes = computed(model)[address], raw.attributes[address]
        np.testing.assert_allclose(real[address], expected, rtol=1e-6, atol=4e-6, err_msg=address)
        assert (attributes["quantization"], attributes["dtype"]) == (scheme, "uint8" if "8" in name else "uint4")
        np.testing.assert_allclose(from_attributes(raw[address], attributes), expected, rtol=1e-5, atol=1e-5)


def test_the_integers_are_those_in_the_file(tmp_path: Path, tfdump: Run) -> None:
    """By NumPy on the bytes of the archive: two integers of 4 bits in each byte of the kernel, the lower half first."""
    model = keras.Sequential([keras.Input((6,)), layers.Dense(5, name="dense")])
    model.quantize(config=Int4QuantizationConfig(block_size=4))
    model.save(tmp_path / "small.keras")
    assert tfdump("weights", "small.keras").returncode == 0
    assert tfdump("weights", "small.keras", "--dequantize", "-o", "real.h5").returncode == 0
    with zipfile.ZipFile(tmp_path / "small.keras") as archive:
        file = h5py.File(io.BytesIO(archive.read("model.weights.h5")))
    packed, bias, scale, zero, index = (file[f"layers/dense/vars/{number}"][()] for number in range(5))
    halves = [(byte & 15, byte >> 4) for byte in packed.view(np.uint8).ravel()]
    integers = np.array(halves, np.int64).reshape(6, 6)[:, :5]
    integers[integers > 7] -= 16
    with h5py.File(tmp_path / "small.weights-dump.h5") as dump, h5py.File(tmp_path / "real.h5") as real:
        kernel = dump["weights/dense.kernel"]
        np.testing.assert_array_equal(kernel[()], integers)
        np.testing.assert_array_equal(dump["weights/dense.bias"][()], bias)
        np.testing.assert_array_equal(kernel.attrs["scale"], scale)
        np.testing.assert_array_equal(kernel.attrs["zero_point"], zero)
        np.testing.assert_array_equal(kernel.attrs["group_index"], index)
        assert (kernel.attrs["dtype"], kernel.attrs["stored_as"]) == ("int4", "int8")
        expected = (integers - zero[index.astype(int)]) * scale[index.astype(int)]
        np.testing.assert_allclose(real["weights/dense.kernel"][()], expected, rtol=1e-7)


def test_scales_that_no_attribute_can_hold_are_datasets(tmp_path: Path, tfdump: Run) -> None:
    model = keras.Sequential([keras.Input((3,), dtype="int32"), layers.Embedding(3000, 2, name="table")])
    model.quantize("int8")
    model.save(tmp_path / "wide.keras")
    assert tfdump("weights", "wide.keras", "--checksums").returncode == 0
    path = tmp_path / "wide.weights-dump.h5"
    with h5py.File(path) as file:
        assert "scale" not in file["weights/table.embeddings"].attrs
        scale = file["quantization/scale/weights/table.embeddings"][()]
        np.testing.assert_allclose(scale, 1 / file["weights/table.embeddings_scale"][()], rtol=1e-7)
    import tfdump as package

    with package.open(path) as dump:
        tensor = dump["table.embeddings"]
        assert all(result.problem is None for result in dump.verify())
        real = tensor.quantization.dequantized(tensor.read())
        assert dump["table.embeddings_scale"].quantization is None
    np.testing.assert_allclose(real, np.asarray(model(np.arange(3000)[:, None]))[:, 0], rtol=1e-6)


def test_a_model_that_is_not_quantized_is_said_to_be_so() -> None:
    model = keras.Sequential([keras.Input((2,)), layers.Dense(2)], name="plain")
    with pytest.warns(tfdump.TfdumpWarning, match="^dequantize=True has no effect: no weight of plain is quantized$"):
        tfdump.weights(model, dequantize=True)


@pytest.mark.parametrize("mode", [None, "int8"])
def test_the_product_of_the_factors_is_what_lora_adds_to_the_outputs(mode: str | None) -> None:
    rng, model = np.random.default_rng(4), network()
    probed = {"table.embeddings": np.arange(11), "dense.kernel": np.eye(7), "heads.kernel": np.eye(5)[None]}
    if mode:
        model.quantize(mode)
        for name in ("dense", "heads"):
            model.get_layer(name).inputs_quantizer = None
    before = {address: np.asarray(model.get_layer(address.split(".")[0])(x)) for address, x in probed.items()}
    for address in probed:
        name, _, weight = address.partition(".")
        layer = model.get_layer(name)
        layer.enable_lora(2, lora_alpha=3)
        for part in "ab":
            factor = getattr(layer, f"lora_{weight}_{part}")
            factor.assign(rng.standard_normal(factor.shape))
    weights = tfdump.weights(model)
    for address, x in probed.items():
        name, _, weight = address.partition(".")
        added = np.asarray(model.get_layer(name)(x)) - before[address]
        product = weights[f"{address}:lora"]
        np.testing.assert_allclose(product, added.reshape(product.shape), rtol=1e-4, atol=1e-5)
        assert weights.attributes[f"{address}:lora"]["lora_rank"] == 2
        assert weights.attributes[f"{address}:lora"]["lora_alpha"] == 3
        assert not weights.attributes[address]["trainable"]
        assert weights.attributes[f"{name}.lora_{weight}_a"]["trainable"]
    assert set(tfdump.weights(model, layers="dense.kernel")) == {"dense.kernel", "dense.kernel:lora"}
