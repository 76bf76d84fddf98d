"""Every activation tells what its layer read: the graph of the run, against how the models are written down here."""

import json
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

import tfdump as api
from support.command import Run

pytestmark = [pytest.mark.tensorflow, pytest.mark.filterwarnings("ignore::tfdump.TfdumpWarning")]

BOTH = pytest.mark.parametrize("eager", [False, True], ids=["graph", "eager"])


def floats(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape).astype("float32")


def read_by(
    model: keras.Model, x: Any, eager: bool = False, group: str = "activations", **options: bool
) -> dict[str, list[str] | None]:
    """What every tensor of a dump says that its layer read."""
    from tfdump.api.arguments import arrays_of
    from tfdump.captures import Captures
    from tfdump.model.loading.load import in_memory
    from tfdump.run.activations.options import ActivationOptions
    from tfdump.run.activations.run import open_activations

    settings = ActivationOptions(eager=eager, captures=Captures(**options))
    with open_activations(in_memory(model), arrays_of(x), settings, lambda text: None) as run:
        return {t.info.address: None if t.info.inputs is None else list(t.info.inputs)
                for t in run.planned if t.group == group}  # fmt: skip


def dense(name: str, units: int = 3) -> layers.Dense:
    return layers.Dense(units, name=name)


@BOTH
def test_a_functional_model(eager: bool) -> None:
    a, b = keras.Input((3,), name="a"), keras.Input((3,), name="b")
    shared = dense("shared")
    first, second = shared(a), shared(b)
    both = layers.Concatenate(name="both")([second, first])
    total = layers.Add(name="total")([dense("three")(both), ops.relu(first), first])
    model = keras.Model([a, b], total)
    got = read_by(model, {"a": floats(4, 3), "b": floats(4, 3)}, eager)
    relu = next(address for address in got if address.startswith("relu"))
    assert got == {
        "shared": ["inputs/a"],
        "shared@1": ["inputs/b"],
        "both": ["shared@1", "shared"],
        "three": ["both"],
        relu: ["shared"],
        "total": ["three", relu, "shared"],
    }


@BOTH
def test_dropout_that_returns_what_it_was_given(eager: bool) -> None:
    """What reads the tensor before the dropout is told from what reads it behind, though both are one object."""
    x = keras.Input((3,), name="x")
    first = dense("first")(x)
    dropped = layers.Dropout(0.5, name="dropped")(first)
    passed = layers.Identity(name="passed")(dropped)
    model = keras.Model(x, [dense("before")(first), dense("behind")(dropped), dense("last")(passed)])
    got = read_by(model, floats(4, 3), eager)
    assert got["dropped"] == ["first"]
    assert got["passed"] == ["dropped"]
    assert (got["before"], got["behind"], got["last"]) == (["first"], ["dropped"], ["passed"])


def test_dropout_of_the_input_itself() -> None:
    x = keras.Input((3,), name="x")
    model = keras.Model(x, [dense("behind")(layers.Dropout(0.5, name="drop")(x)), dense("beside")(x)])
    assert read_by(model, floats(4, 3)) == {"drop": ["inputs/x"], "behind": ["drop"], "beside": ["inputs/x"]}


class Residual(keras.Model):
    """Sums, slices and constants in plain Python between layers."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.last = dense("first"), dense("second"), dense("last", 2)
        self.norm = layers.LayerNormalization(name="norm")
        self.alone, self.sized = dense("alone"), dense("sized")
        self.scale = self.add_weight((3,), name="scale")

    def call(self, x: Any) -> Any:
        y = self.first(x)
        z = self.norm(x[:, :3] + tf.nn.relu(y) * self.scale)
        w = self.second(z)
        constant = self.alone(tf.ones((1, 3)) * self.scale)
        sized = self.sized(tf.zeros(tf.shape(w)))
        return self.last(tf.concat([w, y - z], 1)) + constant[:, :2] + sized[:, :2]


def test_nearest_recorded_tensors_stand_behind_plain_operations() -> None:
    assert read_by(Residual(), floats(4, 5)) == {
        "first": ["inputs/x"],
        "norm": ["inputs/x", "first"],
        "second": ["norm"],
        "alone": [],
        "sized": [],
        "last": ["second", "first", "norm"],
    }


def test_eager_runs_tell_what_can_be_told() -> None:
    got = read_by(Residual(), floats(4, 5), eager=True)
    assert got == {
        "first": ["inputs/x"], "norm": None, "second": ["norm"], "alone": None, "sized": None, "last": None,
    }  # fmt: skip


@BOTH
def test_sub_models_and_what_is_in_them(eager: bool) -> None:
    inner = keras.Input((3,))
    encoder = keras.Model(inner, [dense("one")(inner), dense("two")(inner)], name="encoder")
    x = keras.Input((3,), name="x")
    left, right = encoder(x)
    model = keras.Model(x, layers.Subtract(name="sub")(encoder(layers.Add(name="sum")([left, right]))))
    assert read_by(model, floats(4, 3), eager) == {
        "encoder.one": ["inputs/x"],
        "encoder.two": ["inputs/x"],
        "encoder:0": ["inputs/x"],
        "encoder:1": ["inputs/x"],
        "sum": ["encoder:0", "encoder:1"],
        "encoder@1.one": ["sum"],
        "encoder@1.two": ["sum"],
        "encoder@1:0": ["sum"],
        "encoder@1:1": ["sum"],
        "sub": ["encoder@1:0", "encoder@1:1"],
    }


@BOTH
def test_masks_that_keras_hands_on_are_not_read(eager: bool) -> None:
    parts = [keras.Input((6,), dtype="int32", name="tokens"), layers.Embedding(9, 4, mask_zero=True, name="emb")]
    model = keras.Sequential([*parts, layers.LSTM(3, name="lstm")])
    x = np.array([[1, 2, 3, 0, 0, 0], [4, 5, 6, 7, 8, 0]], "int32")
    assert read_by(model, x, eager) == {"emb": ["inputs/tokens"], "lstm": ["emb"]}


@BOTH
def test_masks_that_are_nodes_of_the_graph_are_read(eager: bool) -> None:
    """Keras makes `tokens != 0` an operation of the model, which is recorded like any other."""
    tokens = keras.Input((6,), dtype="int32", name="tokens")
    embedded = layers.Embedding(9, 4, mask_zero=True, name="emb")(tokens)
    model = keras.Model(tokens, layers.LSTM(3, name="lstm")(embedded))
    x = np.array([[1, 2, 3, 0, 0, 0], [4, 5, 6, 7, 8, 0]], "int32")
    got = read_by(model, x, eager)
    (mask,) = set(got) - {"emb", "lstm"}
    assert got == {"emb": ["inputs/tokens"], mask: ["inputs/tokens"], "lstm": ["emb", mask]}


def test_a_mask_that_the_user_feeds_is_read() -> None:
    x, mask = keras.Input((4, 3), name="x"), keras.Input((4,), dtype="bool", name="mask")
    model = keras.Model([x, mask], layers.LSTM(2, name="lstm")(x, mask=mask))
    fed = {"x": floats(2, 4, 3), "mask": np.array([[1, 1, 0, 0], [1, 1, 1, 1]], bool)}
    assert read_by(model, fed) == {"lstm": ["inputs/x", "inputs/mask"]}


def test_attention_time_distributed_and_capture_options() -> None:
    x = keras.Input((4, 3), name="x")
    each = layers.TimeDistributed(layers.Dense(5, activation="tanh", name="inner"), name="each")(x)
    attended = layers.MultiHeadAttention(2, 3, name="mha")(each, x)
    model = keras.Model(x, attended)
    got = read_by(model, floats(2, 4, 3), attention=True, preactivation=True, layer_inputs=True)
    assert got["each"] == got["each.inner"] == got["each.inner:preactivation"] == got["each:input"] == ["inputs/x"]
    assert got["mha"] == got["mha:attention_scores"] == ["each", "inputs/x"]
    assert got["mha.query"] == ["each"]
    assert got["mha.key"] == got["mha.value"] == ["inputs/x"]


def test_ragged_and_sparse_tensors() -> None:
    class Sparse(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.split, self.back = Splits(name="split"), Joins(name="back")

        def call(self, x: Any) -> Any:
            return self.back(self.split(x))

    class Splits(layers.Layer):
        def call(self, x: Any) -> Any:
            return {"sparse": tf.sparse.from_dense(x), "ragged": tf.RaggedTensor.from_tensor(x)}

    class Joins(layers.Layer):
        def call(self, parts: Any) -> Any:
            return tf.sparse.to_dense(parts["sparse"]) + parts["ragged"].to_tensor(shape=(None, 3))

    got = read_by(Sparse(), floats(2, 3))
    assert got["split:ragged"] == ["inputs/x"]
    assert sorted(got["back"]) == ["split:ragged", "split:sparse"]


def test_the_steps_of_a_recurrent_layer_read_what_the_layer_reads() -> None:
    x, state = keras.Input((4, 3), name="x"), keras.Input((2,), name="state")
    gru = layers.GRU(2, name="gru")(dense("before")(x), initial_state=dense("first", 2)(state))
    both = layers.Bidirectional(layers.LSTM(2, name="lstm"), name="both")(x)
    model = keras.Model([x, state], [gru, both])
    got = read_by(model, {"x": floats(2, 4, 3), "state": floats(2, 2)}, rnn_steps=True)
    assert {address: got[address] for address in got if address.startswith("gru")} == {
        "gru:states.0": ["before", "first"],
        "gru": ["before", "first"],
    }
    parts = [address for address in got if address.startswith("both")]
    assert sum(":states." in address for address in parts) == 4
    assert {tuple(got[address] or ()) for address in parts} == {("inputs/x",)}


class Doubled(layers.Layer):
    """Changes the values of a ragged or sparse tensor, and nothing else about it."""

    def call(self, x: Any) -> Any:
        if isinstance(x, tf.SparseTensor):
            return tf.sparse.map_values(lambda values: 2 * values, x)
        return x.with_flat_values(2 * x.flat_values)


class Cut(layers.Layer):
    """Keeps the values, and changes where the rows end."""

    def call(self, x: Any) -> Any:
        return tf.RaggedTensor.from_row_lengths(x.values, tf.reverse(x.row_lengths(), [0]))


class Sums(layers.Layer):
    def call(self, x: Any) -> Any:
        return tf.sparse.reduce_sum(x, 1) if isinstance(x, tf.SparseTensor) else tf.reduce_sum(x, 1)


class Composites(keras.Model):
    """Layers that read ragged and sparse tensors of which the parts are the same."""

    def __init__(self) -> None:
        super().__init__()
        self.ragged, self.doubled, self.cut = Rows(name="ragged"), Doubled(name="doubled"), Cut(name="cut")
        self.sums = {name: Sums(name=name) for name in ("of_ragged", "of_doubled", "of_cut")}
        self.sparse, self.twice = Entries(name="sparse"), Doubled(name="twice")
        self.entries = {name: Sums(name=name) for name in ("of_sparse", "of_twice")}

    def call(self, x: Any) -> Any:
        rows, entries = self.ragged(x), self.sparse(x)
        more, other, twice = self.doubled(rows), self.cut(rows), self.twice(entries)
        read = {"of_ragged": rows, "of_doubled": more, "of_cut": other}
        sums = [self.sums[name](tensor) for name, tensor in read.items()]
        return [*sums, self.entries["of_sparse"](entries), self.entries["of_twice"](twice)]


class Rows(layers.Layer):
    def call(self, x: Any) -> Any:
        return tf.RaggedTensor.from_tensor(x)


class Entries(layers.Layer):
    def call(self, x: Any) -> Any:
        return tf.sparse.from_dense(x)


@BOTH
def test_ragged_and_sparse_tensors_that_share_parts(eager: bool) -> None:
    """Doubling keeps the ends of the rows, and cutting keeps the values."""
    got = read_by(Composites(), floats(2, 3), eager)
    assert {address: got[address] for address in ("doubled", "cut", "twice")} == {
        "doubled": ["ragged"],
        "cut": ["ragged"],
        "twice": ["sparse"],
    }
    assert {address: reads for address, reads in got.items() if address.startswith("of_")} == {
        "of_ragged": ["ragged"],
        "of_doubled": ["doubled"],
        "of_cut": ["cut"],
        "of_sparse": ["sparse"],
        "of_twice": ["twice"],
    }


def test_a_long_chain_of_plain_operations() -> None:
    class Chain(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = dense("first"), dense("last")

        def call(self, x: Any) -> Any:
            y = self.first(x)
            for _ in range(1500):
                y = y + 0.001
            return self.last(y)

    assert read_by(Chain(), floats(2, 3)) == {"first": ["inputs/x"], "last": ["first"]}


def test_gradients_of_activations_tell_what_their_layers_read(tmp_path: Path, tfdump: Run) -> None:
    x = keras.Input((3,), name="x")
    first = dense("first")(x)
    model = keras.Model(x, layers.Add(name="sum")([layers.Dropout(0.5, name="drop")(first), first]))
    model.save(tmp_path / "m.keras")
    np.save(tmp_path / "x.npy", floats(4, 3))
    options = ("--objective", "sum", "--wrt", "activations", "--wrt", "weights", "-o", "g.h5")
    assert tfdump("gradients", "m.keras", "x.npy", *options).returncode == 0
    with h5py.File(tmp_path / "g.h5") as file:
        group = file["gradients/activations"]
        got = {name: json.loads(item.attrs["inputs"]) for name, item in group.items()}
        assert "inputs" not in file["gradients/weights/first.kernel"].attrs
    assert got == {"first": ["inputs/x"], "drop": ["first"], "sum": ["drop", "first"]}


def test_files_and_tables_tell_it(tmp_path: Path, tfdump: Run) -> None:
    x = keras.Input((3,), name="x")
    model = keras.Model(x, layers.Add(name="sum")([dense("a%b")(x), x]))
    model.save(tmp_path / "m.keras")
    np.save(tmp_path / "x.npy", floats(4, 3))
    assert tfdump("activations", "m.keras", "x.npy", "-o", "d.h5", "-l", "sum").returncode == 0
    expected = ["a%25b", "inputs/x"]
    with h5py.File(tmp_path / "d.h5") as file:
        assert json.loads(file["activations/sum"].attrs["inputs"]) == expected
    shown = json.loads(tfdump("show", "d.h5", "--json").stdout)["items"]
    assert next(item for item in shown if item["group"] == "activations")["inputs"] == expected
    listed = json.loads(tfdump("layers", "m.keras", "--json").stdout)["items"]
    assert {item["address"]: item["inputs"] for item in listed} == {"a%25b": ["inputs/x"], "sum": expected}
    with api.open(tmp_path / "d.h5") as dump:
        assert dump["activations/sum"].inputs == tuple(expected)


def test_more_inputs_than_an_attribute_holds_are_left_out(tmp_path: Path, tfdump: Run) -> None:
    x = keras.Input((1,), name="x")
    parts = [layers.Activation("tanh", name=f"{number:03}" + "n" * 200)(x) for number in range(300)]
    keras.Model(x, layers.Add(name="sum")(parts)).save(tmp_path / "m.keras")
    np.save(tmp_path / "x.npy", floats(4, 1))
    assert tfdump("activations", "m.keras", "x.npy", "-o", "d.h5").returncode == 0
    with h5py.File(tmp_path / "d.h5") as file:
        assert "inputs" not in file["activations/sum"].attrs
        assert json.loads(file["activations"][parts[0]._keras_history.operation.name].attrs["inputs"]) == ["inputs/x"]


@pytest.mark.parametrize("name", ["inputs", "operands"])
def test_damaged_lists_are_refused(tmp_path: Path, tfdump: Run, name: str) -> None:
    for damage in ("[", '{"a": 1}', "[1]", "null", "[" * 100_000):
        with h5py.File(tmp_path / "d.h5", "w") as file:
            file.attrs.update({"format": "tfdump", "format_version": 1, "kind": "activations"})
            item = file.create_dataset("activations/t", data=np.zeros(3, "float32"))
            item.attrs.update({"address": "t", "dtype": "float32", "axis0": "example", name: damage[:50_000]})
        done = tfdump("show", "d.h5")
        assert done.returncode == 2
        assert f"attribute '{name}' is not a list of addresses" in done.stderr


def test_comparing_attributes_passes_over_it(tmp_path: Path, tfdump: Run) -> None:
    """It holds names, by which `diff` pairs or does not; older dumps have none."""
    x = keras.Input((3,), name="x")
    keras.Model(x, dense("d")(x)).save(tmp_path / "m.keras")
    np.save(tmp_path / "x.npy", floats(4, 3))
    for name in ("old.h5", "new.h5"):
        assert tfdump("activations", "m.keras", "x.npy", "-o", name).returncode == 0
    with h5py.File(tmp_path / "old.h5", "a") as file:
        del file["activations/d"].attrs["inputs"]
    assert tfdump("diff", "old.h5", "new.h5", "--check-attrs").returncode == 0


class Twice(keras.Model):
    """Doubles what its layer returns, and returns that too."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.inner = dense("inner")

    def call(self, x: Any) -> Any:
        hidden = self.inner(x)
        return {"same": hidden, "doubled": hidden * 2.0}


@pytest.mark.parametrize(("ops", "doubled"), [(False, "inner"), (True, "multiply")])
def test_final_outputs_tell_which_tensor_they_are(ops: bool, doubled: str) -> None:
    model = Twice(name="twice")
    model(floats(2, 3))
    assert read_by(model, floats(4, 3), group="outputs", ops=ops) == {"same": ["inner"], "doubled": [doubled]}


def test_final_outputs_of_a_saved_model_tell_which_tensor_they_are(tfdump: Run, tmp_path: Path) -> None:
    x = keras.Input((3,), name="x")
    keras.Model(x, Twice(name="twice")(x)).export(tmp_path / "saved", verbose=False)
    np.save(tmp_path / "x.npy", floats(4, 3))
    done = tfdump("activations", "saved", "x.npy", "--trust-model", "-o", "saved.h5")
    assert done.returncode == 0, done.stderr
    with h5py.File(tmp_path / "saved.h5") as file:
        reads = {name: json.loads(item.attrs["inputs"]) for name, item in file["outputs"].items()}
    assert reads == {"doubled": ["twice:op.mul"], "same": ["twice.inner"]}
