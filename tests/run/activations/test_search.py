"""The first example with NaN or infinity is found in models of every kind, and returned as its batch computed it."""

import warnings
from pathlib import Path
from typing import Any

import keras
import ml_dtypes
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

import tfdump
from support.row_models import Odd
from support.saved_formats import exported, lite
from support.tiny_models import floats, register
from tfdump.run import pipeline
from tfdump.tensors import Ragged, Sparse

pytestmark = pytest.mark.tensorflow


@register
class Log(layers.Layer):
    """The logarithm, which is NaN for negative numbers and -inf for zero."""

    def call(self, x: Any) -> Any:
        return ops.log(x)


@register
class Mean(layers.Layer):
    """The mean over the examples of the batch, one row for all of them."""

    def call(self, x: Any) -> Any:
        return ops.mean(x, axis=0)


@register
class Centered(layers.Layer):
    """The distance from the mean of the batch."""

    def call(self, x: Any) -> Any:
        return x - ops.mean(x, axis=0)


def randomized(model: keras.Model, seed: int = 1) -> keras.Model:
    dice = np.random.default_rng(seed)
    model.set_weights([np.abs(dice.normal(size=w.shape)).astype(w.dtype) + 0.1 for w in model.get_weights()])
    return model


def two_branches(batch: int | None = None) -> keras.Model:
    """A dense layer whose output goes through a logarithm in the branch that runs second."""
    x = keras.Input((3,), batch_size=batch, name="x")
    hidden = layers.Dense(4, use_bias=False, name="hidden")(x)
    plain = layers.Rescaling(2.0, name="plain")(hidden)
    log = Log(name="log")(layers.Rescaling(1.0, name="again")(hidden))
    return randomized(keras.Model(x, layers.Add(name="sum")([plain, log])))


def positive(examples: int, *shape: int) -> np.ndarray:
    return np.abs(floats(examples, *(shape or (3,)))) + 0.1


def spoiled(examples: int, **rows: Any) -> np.ndarray:
    """Positive inputs, with the values of some rows replaced: `at_5=-1` makes all of row 5 negative."""
    x = positive(examples)
    for name, value in rows.items():
        x[int(name.removeprefix("at_"))] = value
    return x


def quietly(model: Any, x: Any, **options: Any) -> tfdump.Activations:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", tfdump.TfdumpWarning)
        return tfdump.activations(model, x, until_nan=True, **options)


def test_the_rows_are_those_of_the_batch_that_computed_them() -> None:
    """Another batch size changes the last bits of a matrix product, so the same size has to be compared."""
    x, model = spoiled(50, at_33=-1, at_35=-2), two_branches()
    bad = tfdump.activations(model, x, until_nan=True, batch_size=8)
    everything = tfdump.activations(model, x, batch_size=8)
    assert (bad.example, bad.searched) == (33, 40)
    assert list(bad) == list(everything)
    for address, values in everything.items():
        np.testing.assert_array_equal(bad[address], values[33:34])
    assert np.isnan(bad["log"]).all()
    np.testing.assert_array_equal(bad.inputs["x"], x[33:34])
    np.testing.assert_array_equal(bad.outputs["sum"], everything["sum"][33:34])
    assert [(o.check, o.tensor, o.example) for o in bad.origins] == [("nan", "activations/log", 33)]


def test_clean_examples_give_nothing() -> None:
    clean = tfdump.activations(two_branches(), positive(50), until_nan=True)
    assert (dict(clean), clean.example, clean.searched) == ({}, None, 50)
    assert (clean.inputs, clean.outputs, clean.origins) == ({}, {}, ())


def test_all_activations_tell_how_many_examples_there_were() -> None:
    everything = tfdump.activations(two_branches(), positive(5))
    assert (everything.searched, everything.example, everything.origins) == (5, None, ())
    assert isinstance(everything, dict)


@pytest.mark.parametrize("bad_row", [0, 7, 8, 16, 49])
@pytest.mark.parametrize("eager", [False, True])
def test_every_place_is_searched(bad_row: int, eager: bool) -> None:
    x = spoiled(50, **{f"at_{bad_row}": -1})
    bad = quietly(two_branches(), x, batch_size=8, eager=eager)
    assert (bad.example, bad.searched) == (bad_row, min(50, bad_row // 8 * 8 + 8))
    assert np.isfinite(bad["hidden"]).all()
    assert np.isnan(bad["log"]).all()


def test_infinity_counts_unless_it_is_allowed() -> None:
    x, model = spoiled(20, at_4=0.0, at_11=-1), two_branches()  # log(0) is -inf
    assert quietly(model, x).example == 4
    bad = quietly(model, x, allow_inf=True)
    assert bad.example == 11
    assert {origin.check for origin in bad.origins} == {"nan"}
    assert quietly(model, x[:11], allow_inf=True).example is None


def test_an_input_counts_though_no_layer_shows_it() -> None:
    x = keras.Input((3,), name="x")
    model = keras.Model(x, layers.Lambda(lambda t: ops.where(ops.isfinite(t), t, 0.0), name="clean")(x))
    bad = quietly(model, spoiled(9, at_5=np.nan))
    assert bad.example == 5
    assert [(origin.check, origin.tensor) for origin in bad.origins] == [("nan", "inputs/x")]
    assert np.isfinite(bad["clean"]).all()


def test_the_final_output_counts_though_no_layer_shows_it() -> None:
    class Divided(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.hidden = layers.Rescaling(1.0, name="hidden")

        def call(self, x: Any) -> Any:
            return 1.0 / self.hidden(x)

    bad = quietly(Divided(), spoiled(9, at_5=0.0))
    assert bad.example == 5
    assert np.isfinite(bad["hidden"]).all()
    assert np.isinf(bad.outputs["output"]).all()


def test_only_what_is_selected_is_searched() -> None:
    x, model = spoiled(9, at_5=-1), two_branches()
    assert quietly(model, x, layers="hidden").example is None
    assert quietly(model, x, layers="log").example == 5
    assert quietly(model, x, layers="*", exclude=["log", "sum"]).example is None
    assert quietly(model, x, exclude=["log", "sum"]).outputs.keys() == {"sum"}  # final outputs are searched without -l


def test_the_lowest_example_counts_whichever_tensor_is_computed_first() -> None:
    """The first layer is bad for example 6, and a later one for example 5 of the same batch."""
    x = keras.Input((3,), name="x")
    early, late = Log(name="early")(x[:, :1]), Log(name="late")(x[:, 2:])
    for outputs in ([early, late], [late, early]):
        values = positive(16)
        values[6, 0] = values[5, 2] = -1
        bad = quietly(keras.Model(x, outputs), values, batch_size=8)
        assert bad.example == 5
        assert np.isfinite(bad["early"]).all()
        assert np.isnan(bad["late"]).all()


def test_the_second_of_two_inputs_counts() -> None:
    left, right = keras.Input((3,), name="left"), keras.Input((2,), name="right")
    model = randomized(keras.Model([left, right], layers.Concatenate(name="both")([left, right])))
    second = positive(12, 2)
    second[7, 1] = np.inf
    bad = quietly(model, {"left": positive(12), "right": second}, batch_size=5)
    assert (bad.example, list(bad.inputs)) == (7, ["left", "right"])
    np.testing.assert_array_equal(bad.inputs["right"], second[7:8])
    assert "inputs/right" in [origin.tensor for origin in bad.origins]


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_overflows(dtype: str) -> None:
    x = keras.Input((3,), name="x")
    hidden = layers.Dense(4, use_bias=False, dtype=f"mixed_{dtype}", name="hidden")(x)
    model = randomized(keras.Model(x, layers.Rescaling(1.0, dtype=dtype, name="out")(hidden)))
    large = 6e4 if dtype == "float16" else float(ml_dtypes.finfo("bfloat16").max)
    bad = quietly(model, spoiled(9, at_6=large))
    assert bad.example == 6
    assert not np.isfinite(bad["hidden"].astype("float64")).all()
    assert bad.origins[0].tensor == "activations/hidden"


def test_casting_and_reducing_come_after_the_search() -> None:
    """Values that overflow float16 are finite, and a minimum that hides an infinity was computed from it."""
    x, model = positive(9) * 1e6, two_branches()
    assert quietly(model, x, dtype="float16").example is None
    x[4, 0] = np.inf
    bad = quietly(model, x, reduce="min", layers="hidden")
    assert bad.example == 4
    assert bad["hidden"].shape == (1,)


def test_complex_numbers_and_integers() -> None:
    class Parts(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.both = layers.Lambda(lambda x: tf.complex(x, ops.log(x)), name="both")
            self.integers = layers.Lambda(lambda x: ops.cast(x, "int32"), name="integers")

        def call(self, x: Any) -> Any:
            self.both(x)
            return self.integers(x)

    bad = quietly(Parts(), spoiled(9, at_5=-1))
    assert bad.example == 5
    np.testing.assert_array_equal(bad["both"].real, np.full((1, 3), -1))
    assert np.isnan(bad["both"].imag).all()


@pytest.mark.parametrize("bad_row", [2, 5, 6])
def test_a_fixed_batch_size_and_its_padding(bad_row: int) -> None:
    """Seven examples in batches of four, the last of which is padded with a copy of its last one."""

    @register
    class Twice(layers.Layer):
        def call(self, x: Any) -> Any:
            return ops.reshape(x, (4, 3)) * 2.0  # refuses other batch sizes

    x = keras.Input((3,), batch_size=4, name="x")
    model = keras.Model(x, Log(name="log")(Twice(name="twice")(x)))
    values = positive(7)
    values[bad_row] = -9
    bad = quietly(model, values)
    assert (bad.example, bad.searched) == (bad_row, 4 if bad_row < 4 else 7)
    np.testing.assert_array_equal(bad["twice"], values[bad_row : bad_row + 1] * 2)
    assert bad.inputs["x"].shape == (1, 3)
    assert quietly(model, positive(7)).example is None


def test_a_tensor_without_examples_is_whole() -> None:
    """The mean of the second batch, as that batch gave it, beside the row of its bad example."""
    x = keras.Input((3,), name="x")
    mean = Mean(name="mean")(x)
    model = keras.Model(x, [mean, Log(name="log")(x)])
    values = spoiled(12, at_6=-1)
    bad = quietly(model, values, batch_size=4)
    assert bad.example == 6
    np.testing.assert_allclose(bad["mean"], values[4:8].mean(axis=0)[None], rtol=1e-5)
    assert np.isnan(bad["log"]).all()


def test_a_batch_whose_examples_cannot_be_told_apart_is_named() -> None:
    x = keras.Input((3,), name="x")
    model = keras.Model(x, Log(name="log")(Mean(name="mean")(x)))
    values = positive(12)
    values[5] = -100.0
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        bad = tfdump.activations(model, values, until_nan=True, batch_size=4)
    (told,) = [str(one.message) for one in caught if "no example can be named" in str(one.message)]
    assert told.endswith("the dump holds the first one of examples 4 to 7")
    assert bad.example == 4
    np.testing.assert_array_equal(bad.inputs["x"], values[4:5])
    np.testing.assert_allclose(bad["mean"], values[4:8].mean(axis=0)[None], rtol=1e-5)
    assert np.isnan(bad["log"]).all()


@pytest.mark.parametrize("training", [False, True])
def test_one_bad_example_that_spoils_its_batch_is_named(training: bool) -> None:
    """Behind what mixes examples every row is bad, so the rows before it decide."""
    x = keras.Input((3,), name="x")
    mixing = layers.BatchNormalization(name="mix") if training else Centered(name="mix")
    model = randomized(keras.Model(x, mixing(Log(name="log")(x))))
    values = spoiled(16, at_13=-1)
    bad = quietly(model, values, batch_size=8, training=training)
    assert bad.example == 13
    np.testing.assert_array_equal(bad.inputs["x"], values[13:14])
    assert bad.origins[0].tensor == "activations/log"
    assert np.isnan(bad["mix"]).all()


def test_random_layers_keep_what_they_drew() -> None:
    """The rows are those of the one run: the same seed over all examples draws the same numbers."""
    x = keras.Input((3,), name="x")
    model = keras.Model(x, Log(name="log")(layers.Dropout(0.5, name="drop")(x)))
    values = spoiled(24, at_17=-1)
    options = {"training": True, "batch_size": 8, "seed": 3, "allow_inf": True}
    bad = quietly(model, values, **options)
    del options["allow_inf"]
    with pytest.warns(tfdump.TfdumpWarning):
        everything = tfdump.activations(model, values, **options)
    nans = np.flatnonzero(np.isnan(everything["log"]).any(axis=1))
    assert bad.example == nans[0]
    np.testing.assert_array_equal(bad["drop"], everything["drop"][nans[0] : nans[0] + 1])


def test_ragged_and_sparse_rows() -> None:
    class Composite(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.ragged = layers.Lambda(
                lambda x: tf.RaggedTensor.from_tensor(x, lengths=ops.cast(x[:, 0], "int32")), name="ragged"
            )
            self.sparse = layers.Lambda(tf.sparse.from_dense, name="sparse")

        def call(self, x: Any) -> Any:
            self.ragged(x)
            self.sparse(x)
            return x

    x = np.tile(np.array([[1, 0, 5], [3, 6, 7], [2, 8, 9]], "float32"), (3, 1))
    x[4, 2] = np.nan  # example 4 has all three values
    bad = quietly(Composite(), x, batch_size=3)
    assert bad.example == 4
    ragged, sparse = bad["ragged"], bad["sparse"]
    assert isinstance(ragged, Ragged)
    np.testing.assert_array_equal(ragged.values, [3, 6, np.nan])
    np.testing.assert_array_equal(ragged.row_splits[0], [0, 3])
    assert isinstance(sparse, Sparse)
    np.testing.assert_array_equal(sparse.indices, [[0, 0], [0, 1], [0, 2]])
    np.testing.assert_array_equal(sparse.values, [3, 6, np.nan])
    assert sparse.dense_shape == (1, 3)


@pytest.mark.parametrize("eager", [False, True])
def test_rows_that_do_not_follow_the_examples(eager: bool) -> None:
    """In the second batch, the filter keeps one row of four: no row of it belongs to an example for sure."""
    x = np.array([[1, 1], [2, 2], [3, 3], [4, 4], [-5, 5], [6, 6], [-7, 7], [-8, np.inf]], "float32")
    bad = quietly(Odd(eager), x, batch_size=4, eager=eager)
    assert bad.example == 7
    np.testing.assert_array_equal(bad["double"], [[-16, np.inf]])
    np.testing.assert_array_equal(bad["positive"], [[[12, 12]]])
    np.testing.assert_array_equal(bad["late"], [2, 2, 2])


def test_saved_model_and_tflite(tmp_path: Path) -> None:
    model = two_branches()
    x = spoiled(20, at_13=-1)
    by_hand = x[13:14] @ model.get_weights()[0]
    for file in (exported(model, tmp_path / "saved"), lite(model, tmp_path / "m.tflite")):
        bad = quietly(file, x, batch_size=None, trust=file.is_dir())
        assert bad.example == 13, file
        np.testing.assert_allclose(bad["hidden"], by_hand, rtol=1e-5)
        assert bad.origins[0].example == 13
        assert quietly(file, positive(20), trust=file.is_dir()).example is None


def test_text_is_clean() -> None:
    x = keras.Input((1,), dtype="string", name="words")
    model = keras.Model(x, layers.Hashing(5, name="hash")(x))
    assert quietly(model, np.array([["nan"], ["inf"], ["x"]], object)).example is None


def test_a_layer_that_only_later_batches_call_is_named() -> None:
    class Sometimes(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.always = layers.Rescaling(1.0, name="always")
            self.later = layers.Rescaling(1.0, name="later")

        def call(self, x: Any) -> Any:
            x = self.always(x)
            return self.later(x) if float(ops.max(x)) > 50 else x

    values = positive(12) % 1
    values[9] = 99
    with pytest.warns(tfdump.TfdumpWarning, match="not captured: later"):
        clean = tfdump.activations(Sometimes(), values, until_nan=True, batch_size=4, eager=True)
    assert clean.example is None


def test_a_layer_that_the_bad_batch_does_not_call_has_no_values() -> None:
    class Once(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.always = layers.Rescaling(1.0, name="always")
            self.once = layers.Rescaling(1.0, name="once")

        def call(self, x: Any) -> Any:
            x = self.always(x)
            return self.once(x) if float(ops.max(ops.nan_to_num(x))) < 50 else x

    values = positive(12)
    values[9], values[10] = 99, np.nan
    with pytest.warns(tfdump.TfdumpWarning, match="not captured: once"):
        bad = tfdump.activations(Once(), values, until_nan=True, batch_size=4, eager=True)
    assert (bad.example, list(bad)) == (10, ["always"])


@pytest.mark.parametrize("cores", [1, 2, 8])
def test_the_lowest_bad_batch_wins_whatever_the_threads_do(monkeypatch: pytest.MonkeyPatch, cores: int) -> None:
    monkeypatch.setattr(pipeline, "cores", lambda: cores)
    model = two_branches()
    x = spoiled(64, at_21=-1, at_22=-1, at_24=-1, at_40=-1, at_63=-1)
    for _ in range(10):
        bad = quietly(model, x, batch_size=4)
        assert (bad.example, bad.searched) == (21, 24)


def test_an_error_in_a_later_batch_does_not_hide_a_bad_example() -> None:
    class Fails(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.log = Log(name="log")

        def call(self, x: Any) -> Any:
            if float(ops.max(x)) > 50:
                raise ValueError("too large")
            return self.log(x)

    x = spoiled(32, at_12=99)
    with pytest.raises(tfdump.TfdumpError, match="too large"):
        quietly(Fails(), x, batch_size=4, eager=True)
    x[11] = -1
    for _ in range(5):
        assert quietly(Fails(), x, batch_size=4, eager=True).example == 11


def test_the_model_is_left_as_it_was() -> None:
    x = keras.Input((3,), name="x")
    model = randomized(keras.Model(x, layers.BatchNormalization(name="norm")(x)))
    before = [np.array(weight) for weight in model.get_weights()]
    quietly(model, spoiled(16, at_13=np.nan), batch_size=8, training=True)
    for weight, old in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, old)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"allow_inf": True}, "^allow_inf=True is for a search .add until_nan=True, or leave allow_inf=True out.$"),
        ({"until_nan": "yes"}, "until_nan"),
        ({"until_nan": True, "allow_inf": 2}, "allow_inf"),
    ],
)
def test_arguments_that_are_not_valid(options: dict[str, Any], message: str) -> None:
    with pytest.raises(tfdump.TfdumpError, match=message):
        tfdump.activations(two_branches(), positive(3), **options)
