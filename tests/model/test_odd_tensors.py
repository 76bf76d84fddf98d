"""Tensors that are not one dense row an example, models that cannot be traced, and models that keep state."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import tfdump
from support import tiny_models
from support.tiny_models import floats

pytestmark = pytest.mark.tensorflow

NOT_BY_EXAMPLE = "stored batch by batch"


def notes_of(record: pytest.WarningsRecorder) -> list[str]:
    return [str(warning.message) for warning in record if warning.category is tfdump.TfdumpWarning]


@pytest.fixture
def notes(recwarn: pytest.WarningsRecorder) -> pytest.WarningsRecorder:
    return recwarn


# --- which axis is the example


def test_a_table_as_long_as_the_batch_is_stored_once() -> None:
    model, x = tiny_models.odd_axes(), floats(8, 3)
    got = tfdump.activations(model, x, batch_size=4)
    np.testing.assert_array_equal(got["odd:table"], model.odd.table.numpy() * 2)


def test_a_batch_by_batch_similarity_is_stacked_and_named(notes: pytest.WarningsRecorder) -> None:
    x = floats(8, 3)
    got = tfdump.activations(tiny_models.odd_axes(), x, batch_size=4)
    expected = np.stack([x[:4] @ x[:4].T, x[4:] @ x[4:].T])
    np.testing.assert_allclose(got["odd:similarity"], expected, rtol=1e-5, atol=1e-6)
    (note,) = [n for n in notes_of(notes) if NOT_BY_EXAMPLE in n]
    for address in ("odd:similarity", "odd:mean", "odd:heads", "odd:count"):
        assert address in note
    assert "odd:table" not in note


@pytest.mark.filterwarnings("ignore::tfdump.TfdumpWarning")
def test_batches_of_unequal_shapes_come_one_by_one() -> None:
    x = floats(10, 3)
    got = tfdump.activations(tiny_models.odd_axes(), x, batch_size=4)
    assert [item.shape for item in got["odd:similarity"]] == [(4, 4), (4, 4), (2, 2)]
    np.testing.assert_allclose(got["odd:similarity"][2], x[8:] @ x[8:].T, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(np.concatenate(got["odd:heads"]), x.reshape(-1, 1))


@pytest.mark.filterwarnings("ignore::tfdump.TfdumpWarning")
@pytest.mark.parametrize(("examples", "batch_size"), [(4, None), (8, 4), (10, 4), (3, 1), (2, 2), (3, 3)])
def test_rows_of_examples_are_found_at_every_batch_size(examples: int, batch_size: int | None) -> None:
    x = floats(examples, 3)
    got = tfdump.activations(tiny_models.odd_axes(), x, batch_size=batch_size)
    np.testing.assert_array_equal(got["odd:flag"], x > 0)
    assert got["odd:flag"].dtype == bool
    assert got["odd:nothing"].shape == (examples, 0)
    assert got["odd:table"].shape == (4, 3)
    assert "odd:absent" not in got


# --- kinds of tensors


@pytest.mark.filterwarnings("ignore::tfdump.TfdumpWarning")
@pytest.mark.parametrize("batch_size", [1, 2, 5])
def test_ragged_sparse_complex_and_text_tensors(batch_size: int) -> None:
    model, x = tiny_models.Composite(), floats(5, 4)
    got = tfdump.activations(model, x, batch_size=batch_size)
    ragged, sparse = got["kinds:ragged"], got["kinds:sparse"]
    lengths = (x > 0).sum(axis=1)
    np.testing.assert_array_equal(np.diff(ragged.row_splits[0]), lengths)
    np.testing.assert_array_equal(ragged.values, np.concatenate([row[:n] for row, n in zip(x, lengths, strict=True)]))
    dense = np.zeros((5, 4), "float32")
    dense[tuple(sparse.indices.T)] = sparse.values
    np.testing.assert_array_equal(dense, np.maximum(x, 0))
    np.testing.assert_array_equal(got["kinds:complex"], x - 1j * x)
    assert got["kinds:text"].tolist() == [[str(int(v)) for v in row] for row in x]
    np.testing.assert_array_equal(got["kinds:half"], x.astype("float16"))


def test_bfloat16_is_stored_as_float32_without_loss() -> None:
    got = tfdump.activations(tiny_models.Composite(), x := floats(5, 4), layers="kinds:bfloat16")
    assert got["kinds:bfloat16"].dtype == np.float32
    truncated = x.view(np.uint32).astype(np.uint64)
    rounded = (truncated + 0x7FFF + ((truncated >> 16) & 1)) & 0xFFFF0000  # to nearest, ties to even
    np.testing.assert_array_equal(got["kinds:bfloat16"], rounded.astype(np.uint32).view(np.float32))


def test_text_goes_in_and_numbers_come_out() -> None:
    word = keras.Input((), dtype="string", name="word")
    model = keras.Model(word, layers.StringLookup(vocabulary=["a", "b"], name="lookup")(word))
    assert tfdump.activations(model, np.array(["a", "b", "?"]))["lookup"].tolist() == [1, 2, 0]


# --- how the model runs


def test_a_model_that_cannot_be_traced_runs_eagerly_and_says_so(notes: pytest.WarningsRecorder) -> None:
    case = tiny_models.data_dependent()
    got = tfdump.activations(case.model, case.x, batch_size=2)
    for address, value in case.expected.items():
        np.testing.assert_allclose(got[address], value, rtol=1e-5)
    (note,) = notes_of(notes)
    assert "cannot be traced" in note
    assert "eagerly" in note
    assert "\x1b" not in note


def test_a_layer_inside_a_loop_is_named_and_the_rest_is_captured(notes: pytest.WarningsRecorder) -> None:
    model, x = tiny_models.Looping(), floats(5, 3)
    model.inside.build((None, 3))
    assert set(tfdump.activations(model, x)) == {"outside"}
    assert any("not captured: inside (" in note for note in notes_of(notes))


def test_what_is_not_captured_is_named_with_its_reason(notes: pytest.WarningsRecorder) -> None:
    for name in ("nested", "recurrent"):
        case = tiny_models.CASES[name]()
        tfdump.activations(case.model, case.x)
    notes_text = " | ".join(notes_of(notes))
    assert "not captured: never (never called" in notes_text
    assert "not captured: lstm.lstm_cell (inside a recurrent loop" in notes_text


def test_two_positional_arguments_are_named_by_the_call() -> None:
    model = tiny_models.TwoArguments()
    query, context = floats(5, 3), floats(5, 3, seed=1)
    model(query, context)
    by_name = tfdump.activations(model, {"context": context, "query": query})
    kernel, bias = model.dense.get_weights()
    np.testing.assert_allclose(by_name["dense@1"], context @ kernel + bias, rtol=1e-5)
    in_order = tfdump.activations(model, (query, context))
    np.testing.assert_array_equal(in_order["dense"], by_name["dense"])
    with pytest.raises(tfdump.TfdumpError, match="takes 2 inputs"):
        tfdump.activations(model, query)


@pytest.mark.filterwarnings("ignore::tfdump.TfdumpWarning")
def test_a_fixed_batch_is_padded_and_states_are_carried_and_put_back() -> None:
    x = keras.Input(batch_shape=(4, 5, 3))
    gru = layers.GRU(2, stateful=True, name="gru")
    model = keras.Model(x, layers.Dense(1, name="head")(gru(x)))
    data = floats(10, 5, 3)
    gru.reset_state()
    padded = np.concatenate([data, data[-1:], data[-1:]])
    expected = np.concatenate([np.asarray(model(padded[i : i + 4])) for i in (0, 4, 8)])[:10]
    state = gru.states[0].numpy()
    got = tfdump.activations(model, data)
    np.testing.assert_allclose(got["head"], expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(gru.states[0].numpy(), state)
    with pytest.raises(tfdump.TfdumpError, match="fixed batch size of 4"):
        tfdump.activations(model, data, batch_size=2)


def test_a_table_in_a_model_of_fixed_batch_is_no_row_an_example() -> None:
    x = keras.Input(batch_shape=(4, 3))
    odd = tiny_models.Odd(name="odd")
    model = keras.Model(x, odd(x)["flag"])
    data = floats(8, 3)
    with pytest.warns(tfdump.TfdumpWarning, match=NOT_BY_EXAMPLE):
        got = tfdump.activations(model, data)
    np.testing.assert_array_equal(got["odd:table"], odd.table.numpy() * 2)
    np.testing.assert_array_equal(got["odd:flag"], data > 0)
    assert got["odd:similarity"].shape == (2, 4, 4)


@pytest.mark.filterwarnings("ignore::tfdump.TfdumpWarning")
def test_training_mode_is_repeatable_by_its_seed_and_leaves_the_model_alone() -> None:
    x = keras.Input((6,))
    model = keras.Model(x, layers.Dropout(0.5, name="drop")(layers.BatchNormalization(name="norm")(x)))
    data, before = floats(64, 6), [v.numpy() for v in model.variables]
    first, again, other = (tfdump.activations(model, data, training=True, seed=s) for s in (3, 3, 4))
    np.testing.assert_array_equal(first["drop"], again["drop"])
    assert not np.array_equal(first["drop"], other["drop"])
    halves = data.reshape(2, 32, 6)
    normal = (halves - halves.mean(1, keepdims=True)) / np.sqrt(halves.var(1, keepdims=True) + 1e-3)
    np.testing.assert_allclose(first["norm"], normal.reshape(64, 6), rtol=1e-4, atol=1e-5)
    for variable, value in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value)


def test_the_classes_of_keras_are_as_they_were_afterwards() -> None:
    from keras.src.ops.operation import Operation

    call = Operation.__call__
    case = tiny_models.shared_layer()
    tfdump.activations(case.model, case.x)
    with pytest.raises(tfdump.TfdumpError):
        tfdump.activations(case.model, case.x, layers="no such layer")
    assert Operation.__call__ is call
    assert not tf.config.functions_run_eagerly()


# --- selection, reduction and dtype


def test_selection_by_address_class_and_depth() -> None:
    case = tiny_models.submodel_twice()
    assert list(tfdump.activations(case.model, case.x, layers="encoder.dense")) == ["encoder.dense", "encoder@1.dense"]
    assert list(tfdump.activations(case.model, case.x, layers="encoder@1/*")) == ["encoder@1.dense"]
    assert list(tfdump.activations(case.model, case.x, layers="type:Dense", depth=1)) == ["dense"]
    assert list(tfdump.activations(case.model, case.x, exclude=["encoder*"])) == ["dense"]


def test_reduction_and_dtype() -> None:
    x = keras.Input((4, 4, 2))
    model = keras.Model(x, layers.ReLU(name="relu")(x))
    data = floats(5, 4, 4, 2)
    got = tfdump.activations(model, data, reduce="mean:spatial", dtype="float64")["relu"]
    np.testing.assert_allclose(got, np.maximum(data, 0).mean(axis=(1, 2)), rtol=1e-6)
    assert got.dtype == np.float64
    norms = tfdump.activations(model, data, reduce="norm", batch_size=2)["relu"]
    np.testing.assert_allclose(norms, np.sqrt((np.maximum(data, 0) ** 2).sum(axis=(1, 2, 3))), rtol=1e-6)


def test_two_layers_of_one_name_that_are_never_called_are_both_named() -> None:
    class Forgetful(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.used = layers.Dense(2, name="twin")
            self.unused = [layers.Dense(2, name="twin"), layers.Dense(2, name="twin")]

        def call(self, x: tf.Tensor) -> tf.Tensor:
            return self.used(x)

    with pytest.warns(tfdump.TfdumpWarning, match=r"not captured: twin~1, twin~2 \("):
        assert list(tfdump.activations(Forgetful(), floats(3, 2))) == ["twin"]


# --- what looks like a call and is none, and what is called in some batches only


def test_stacked_cells_of_a_recurrent_layer_are_no_activations(notes: pytest.WarningsRecorder) -> None:
    x = keras.Input((5, 3))
    model = keras.Model(x, layers.RNN([layers.LSTMCell(4, name="one"), layers.LSTMCell(4, name="two")], name="rnn")(x))
    assert list(tfdump.activations(model, floats(6, 5, 3))) == ["rnn"]
    notes_text = " ".join(notes_of(notes))
    assert ".one" in notes_text
    assert ".two" in notes_text


class Mapped(keras.Model):
    """Calls a layer on every example by `ops.map`, which calls it once more to learn its signature."""

    def __init__(self) -> None:
        super().__init__()
        self.dense = layers.Dense(3, name="dense")

    def call(self, x: tf.Tensor) -> tf.Tensor:
        return keras.ops.map(lambda row: self.dense(row[None])[0], x) * 1.0


def test_the_call_by_which_a_map_learns_its_signature_is_not_recorded() -> None:
    model, x = Mapped(), floats(4, 3)
    expected = np.asarray(model(x))
    with pytest.warns(tfdump.TfdumpWarning, match=r"not captured: dense \(inside a loop or branch"):
        assert tfdump.activations(model, x) == {}
    with pytest.raises(tfdump.TfdumpError, match="'dense' cannot be captured: inside a loop"):
        tfdump.activations(model, x, layers="dense")
    eager = tfdump.activations(model, x, eager=True)
    np.testing.assert_allclose(np.concatenate([v[0] for v in eager.values()]).reshape(4, 3), expected, rtol=1e-5)


class Sometimes(keras.Model):
    """Calls its second layer only where a value is large."""

    def __init__(self) -> None:
        super().__init__()
        self.always = layers.Dense(3, name="always")
        self.sometimes = layers.Dense(3, name="sometimes")

    def call(self, x: tf.Tensor) -> tf.Tensor:
        y = self.always(x)
        return self.sometimes(y) if float(keras.ops.max(x)) > 2 else y * 1.0


@pytest.mark.parametrize(
    ("large", "batch_size", "message"),
    [
        (7, None, None),
        (0, 3, "sometimes (given by 1 of 3 batches)"),
        (7, 3, "sometimes (not called in the first batch)"),
    ],
)
def test_a_layer_that_only_some_batches_call_is_kept_or_named(
    notes: pytest.WarningsRecorder, large: int, batch_size: int | None, message: str | None
) -> None:
    x = np.full((9, 3), 0.5, "float32")
    x[large] = 5
    got = tfdump.activations(Sometimes(), x, batch_size=batch_size)
    assert list(got) == (["always"] if message else ["always", "sometimes"])
    about = [note for note in notes_of(notes) if "sometimes" in note]
    assert bool(about) == bool(message)
    assert message is None or any(message in note for note in about)


@pytest.mark.parametrize("function", [lambda x: keras.ops.cumsum(x, 0), lambda x: x - 1e-2 * keras.ops.mean(x, 0)])
def test_a_tensor_that_depends_on_the_other_examples_is_named(function: object) -> None:
    class Mixing(layers.Layer):
        def call(self, x: tf.Tensor) -> tf.Tensor:
            return function(x)

    x = keras.Input((6,))
    model = keras.Model(x, Mixing(name="mixing")(x))
    with pytest.warns(tfdump.TfdumpWarning, match="depend on the other examples of the batch: mixing"):
        tfdump.activations(model, floats(9, 6))


def test_any_name_of_a_layer_can_be_traced(notes: pytest.WarningsRecorder) -> None:
    case = tiny_models.awkward_names()
    tfdump.activations(case.model, case.x)
    x = keras.Input((2,))
    emoji = keras.Model(x, layers.Dense(2, name="\N{SNOWMAN} @:%")(x))
    assert list(tfdump.activations(emoji, floats(3, 2))) == ["\N{SNOWMAN} %40%3A%25"]
    assert notes_of(notes) == []


def test_structures_are_unique_and_lead_to_the_layer() -> None:
    class Holder:
        """Hides a layer from the walk over attributes."""

    class Hiding(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.holder = Holder()
            self.holder.inner = layers.Dense(3, name="k")
            self.k = layers.Dense(3, name="z")
            self.d = {"a": {"b": layers.Dense(3, name="p")}, "a.b": layers.Dense(3, name="q")}

        def call(self, x: tf.Tensor) -> tf.Tensor:
            return self.d["a.b"](self.d["a"]["b"](self.holder.inner(self.k(x))))

    model = Hiding()
    from tfdump.model.recording.recorder import Recorder

    recorder = Recorder(model)
    with recorder.watching():
        model(floats(2, 3))
    structures = {record.address: record.structure for record in recorder.records}
    assert structures == {"z": "k", "k": "(k)", "p": "d.a.b", "q": "d.a%2Eb"}


def test_keyword_only_and_collecting_arguments() -> None:
    class Keywords(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.dense = layers.Dense(2, name="dense")

        def call(self, *, a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
            return self.dense(a - b)

    class Collecting(Keywords):
        def call(self, *xs: tf.Tensor) -> tf.Tensor:
            return self.dense(xs[0] - xs[1])

    a, b = floats(3, 2), floats(3, 2, seed=1)
    for model, x in ((Keywords(), {"a": a, "b": b}), (Collecting(), (a, b))):
        got = tfdump.activations(model, x)["dense"]
        kernel, bias = model.dense.get_weights()
        np.testing.assert_allclose(got, (a - b) @ kernel + bias, rtol=1e-5, atol=1e-6)


def test_a_token_out_of_range_is_explained() -> None:
    tokens = keras.Input((2,), dtype="int32")
    model = keras.Model(tokens, layers.Embedding(9, 2)(tokens))
    with pytest.raises(tfdump.TfdumpError, match=r"99 is not in \[0, 9\)"):
        tfdump.activations(model, np.full((3, 2), 99))


@pytest.mark.parametrize(
    "bad", [{"batch_size": 0}, {"batch_size": 2.5}, {"dtype": "int8"}, {"dtype": "foo"}, {"seed": -1}, {"reduce": "x"}]
)
def test_arguments_that_make_no_sense_are_refused(bad: dict) -> None:
    case = tiny_models.shared_layer()
    with pytest.raises(tfdump.TfdumpError):
        tfdump.activations(case.model, case.x, **bad)


def test_a_reduction_over_axes_that_nothing_has_is_said() -> None:
    case = tiny_models.shared_layer()
    with pytest.warns(tfdump.TfdumpWarning, match=r"stored whole, .* reduce mean:7: shared, shared@1, shared@2"):
        tfdump.activations(case.model, case.x, reduce="mean:7")
