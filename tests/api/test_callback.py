"""Dumps during a training: the training goes on to the last bit, and the dumps hold what the model then computes."""

import copy
import json
import os
import random
import resource
import shutil
import signal
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import tfdump
from support.command import Run
from tfdump.errors import DumpError, InputError, ModelError, SelectionError, TfdumpError, TfdumpWarning

pytestmark = pytest.mark.tensorflow

GENERATOR = np.random.default_rng(0)
X = GENERATOR.normal(size=(20, 6)).astype(np.float32)
Y = (np.arange(20) % 3).astype(np.int64)
DRAWS = (tf.random.uniform, keras.random.uniform)
LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


class Drawing(layers.Layer):
    """Draws from every random state that a process shares, in Python and in TensorFlow, and adds a loss."""

    def call(self, inputs: Any, training: bool = False) -> Any:
        if training:
            noise = random.random() + np.random.random() + tf.random.uniform(()) + keras.random.uniform(())
            inputs = inputs + 0.01 * noise
        self.add_loss(0.01 * keras.ops.mean(keras.ops.square(inputs)))
        return inputs


class OwnStep(keras.Model):
    """Trains in a step of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = layers.Dense(5, activation="relu", name="hidden")
        self.drop = layers.Dropout(0.4)
        self.out = layers.Dense(3, name="out")

    def call(self, inputs: Any, training: bool = False) -> Any:
        return self.out(self.drop(self.hidden(inputs), training=training))

    def train_step(self, data: Any) -> dict[str, Any]:
        x, y = data
        with tf.GradientTape() as tape:
            loss = LOSS(y, self(x, training=True))
        self.optimizer.apply(tape.gradient(loss, self.trainable_weights), self.trainable_weights)
        return {"loss": loss}


def stack(case: str) -> list[Any]:
    if case == "jit":  # XLA takes seconds for each of the others
        return [keras.Input((6,), name="x"), layers.Dense(8, name="hidden"), layers.Dropout(0.3), layers.Dense(3)]
    return [
        *([keras.Input((6,), name="x")] if case != "unbuilt" else []),
        layers.Dense(8, name="hidden"), layers.BatchNormalization(name="norm"), layers.Activation("relu"),
        layers.Dropout(0.3, name="drop"), Drawing(name="drawing"), layers.Dense(3, name="out"),
    ]  # fmt: skip


def make(case: str) -> keras.Model:
    """A compiled model; the seed of everything is set first."""
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(7)
    model: keras.Model = OwnStep() if case == "own step" else keras.Sequential(stack(case))
    rate = keras.optimizers.schedules.ExponentialDecay(0.02, 3, 0.8)
    compiled = {} if case == "own step" else {"loss": LOSS, "metrics": ["accuracy"]}
    eager, jit = case == "eager", case == "jit"
    model.compile(keras.optimizers.Adam(rate), run_eagerly=eager, jit_compile=jit, **compiled)
    return model


class Watch(keras.callbacks.Callback):
    """Keeps what training draws: the weights and the random states after every batch and epoch."""

    def __init__(self) -> None:
        super().__init__()
        self.draws: list[Any] = []

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.draws.append([batch, logs, np.random.get_state()[1].sum(), random.getstate()[1][::100]])

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.draws.append([epoch, logs, [value.tolist() for value in self.model.get_weights()]])


def train(case: str, callbacks: list[Any], epochs: int = 2, **options: Any) -> dict[str, Any]:
    """Everything that a training leaves behind."""
    model, watch = make(case), Watch()
    options = {"x": X, "y": Y, "batch_size": 8, "shuffle": True, "verbose": 0} | options
    history = model.fit(epochs=epochs, callbacks=[*callbacks, watch], **options)
    return {
        "weights": [value.tolist() for value in model.get_weights()],
        "optimizer": [np.asarray(variable.value).tolist() for variable in model.optimizer.variables],
        "generators": [np.asarray(v.value).tolist() for v in model.non_trainable_variables],
        "history": history.history,
        "seen": watch.draws,
        "losses": [len(layer._losses) for layer in model.layers] if case != "eager" else None,
        "drawn next": [random.random(), np.random.random(), *(float(draw(())) for draw in DRAWS)],
        "named next": layers.Dense(1).name,
    }  # fmt: skip


@pytest.mark.parametrize("case", ["graph", "jit", "eager", "unbuilt", "own step"])
def test_a_training_is_the_same_to_the_last_bit_with_and_without_dumps(tmp_path: Path, case: str) -> None:
    validation = {"validation_data": (X[:6], Y[:6])} if case in ("graph", "eager") else {}
    alone = train(case, [], **validation)
    loss = {"loss": LOSS} if case == "own step" else {}
    callbacks = [
        tfdump.DumpCallback(tmp_path, X[:5]),
        tfdump.DumpCallback(tmp_path, X[:5], Y[:5], wrt=("weights", "activations"), training=True, **loss),
        tfdump.DumpCallback(tmp_path, X[:5], Y[:5], wrt="inputs", every=2, on="batch", **loss),
        tfdump.DumpCallback(tmp_path, X[:5], on="batch", every=2, training=True, eager=True),
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TfdumpWarning)
        watched = train(case, callbacks, **validation)
    assert watched == alone
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        [f"epoch-000{n}.{kind}.h5" for n in (1, 2) for kind in ("activations", "gradients")]
        + [f"batch-00000{n}.{kind}.h5" for n in (2, 4, 6) for kind in ("activations", "gradients")]
    )


class Augmented(keras.utils.PyDataset):
    """Draws for each batch, in a thread of its own, while the model is trained or dumped."""

    def __init__(self) -> None:
        super().__init__(workers=1)

    def __len__(self) -> int:
        return 5

    def __getitem__(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        noise = 0.0
        for _ in range(40):
            time.sleep(0.0005)
            noise += np.random.random() + random.random()
        rows = slice(4 * number, 4 * number + 4)
        return X[rows] + noise, Y[rows]


def test_what_other_threads_draw_for_the_training_is_not_drawn_again(tmp_path: Path) -> None:
    def weights(callbacks: list[Any]) -> list[Any]:
        keras.utils.set_random_seed(3)
        model = keras.Sequential([layers.Dense(4), layers.Dropout(0.3), layers.Dense(3)])
        model.compile("sgd", LOSS)
        model.fit(Augmented(), epochs=2, verbose=0, callbacks=callbacks)
        return [value.tolist() for value in model.get_weights()]

    callback = tfdump.DumpCallback(tmp_path, X[:5], Y[:5], wrt="weights", on="batch")
    assert weights([callback]) == weights([])
    assert len(names_in(tmp_path)) == 10


def test_trainings_that_differ_are_told_apart() -> None:
    """The test above can fail: one number drawn more makes another training."""

    class Draws(keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            np.random.random()

    assert train("graph", [Draws()], epochs=1) != train("graph", [], epochs=1)


class Keep(keras.callbacks.Callback):
    """Keeps the weights at the end of every batch, by the number of batches, and of every epoch."""

    def __init__(self) -> None:
        super().__init__()
        self.weights: dict[str, list[np.ndarray]] = {}
        self.batches = 0

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.batches += 1
        self.weights[f"batch-{self.batches:06d}"] = self.model.get_weights()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.weights[f"epoch-{epoch + 1:04d}"] = self.model.get_weights()


def plain(jit: bool = False) -> keras.Model:
    """Two dense layers, whose outputs and gradients are a few lines of NumPy."""
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((6,)), layers.Dense(4, name="a"), layers.Dense(1, name="b")])
    model.compile(keras.optimizers.SGD(0.05), "mse", jit_compile=jit)
    return model


TARGET = GENERATOR.normal(size=(20, 1)).astype(np.float32)


@pytest.mark.parametrize("jit", [False, True])
@pytest.mark.parametrize(("on", "every"), [("epoch", 2), ("batch", 4)])
def test_dumps_hold_what_the_weights_of_that_moment_give(tmp_path: Path, on: str, every: int, jit: bool) -> None:
    keep = Keep()
    x, y = X[:5], TARGET[:5]
    callbacks = [
        tfdump.DumpCallback(tmp_path, x, on=on, every=every),
        tfdump.DumpCallback(tmp_path, x, y, on=on, every=every, wrt="weights", layers="a*"),
    ]
    plain(jit).fit(X, TARGET, epochs=4, batch_size=7, verbose=0, callbacks=[*callbacks, keep])  # 3 batches an epoch
    moments = {"epoch": ["epoch-0002", "epoch-0004"], "batch": ["batch-000004", "batch-000008", "batch-000012"]}[on]
    assert sorted(path.name.partition(".")[0] for path in tmp_path.iterdir()) == sorted(2 * moments)
    for name in moments:
        kernel_a, bias_a, kernel_b, bias_b = (value.astype(np.float64) for value in keep.weights[name])
        hidden = x @ kernel_a + bias_a
        error = hidden @ kernel_b + bias_b - y
        with tfdump.open(tmp_path / f"{name}.activations.h5") as dump:
            np.testing.assert_allclose(dump["a"][()], hidden, rtol=1e-5, atol=1e-6)
            assert list(dump.groups["outputs"]) == ["b"]
            number = int(name.partition("-")[2])
            batches = 3 * number if on == "epoch" else number
            told = {key: dump.attributes[key] for key in ("interval", "epoch", "batch", "command", "kind", "examples")}
            assert told == {
                "interval": on, "epoch": (batches + 2) // 3, "batch": batches, "command": "tfdump.DumpCallback",
                "kind": "activations", "examples": 5,
            }  # fmt: skip
            assert dump["a"].statistics["mean"] == pytest.approx(hidden.mean(), rel=1e-4, abs=1e-6)
        with tfdump.open(tmp_path / f"{name}.gradients.h5") as dump:
            assert list(dump) == ["a.kernel", "a.bias"]
            wanted = x.T @ (2 / 5 * error @ kernel_b.T)
            np.testing.assert_allclose(dump["a.kernel"][()], wanted, rtol=1e-4, atol=1e-6)
            assert float(dump.loss) == pytest.approx((error**2).mean(), rel=1e-5)


def test_a_dump_is_that_of_the_saved_model(tmp_path: Path, tfdump: Run) -> None:
    """The command line, given the model as it was saved at that moment, finds the same bits."""
    import tfdump as package

    keras.utils.clear_session(free_memory=False)
    model = keras.Sequential([layer for layer in stack("graph") if not isinstance(layer, Drawing)])
    model.compile("adam", LOSS)
    save = keras.callbacks.ModelCheckpoint(str(tmp_path / "{epoch}.keras"))
    callback = package.DumpCallback(tmp_path, X[:5], stats=False)
    model.fit(X, Y, epochs=2, verbose=0, callbacks=[save, callback])
    np.save(tmp_path / "x.npy", X[:5])
    assert tfdump("activations", "2.keras", "x.npy", "-o", "saved.h5").returncode == 0
    with package.open(tmp_path / "saved.h5") as saved, package.open(tmp_path / "epoch-0002.activations.h5") as dump:
        assert list(dump) == list(saved)
        for name in dump:
            assert np.array_equal(dump[name][()], saved[name][()]), name
            assert set(dump[name].attributes) == set(saved[name].attributes)
    assert json.loads(tfdump("show", tmp_path, "--json").stdout)["items"][1]["epoch"] == 2


def test_the_same_training_writes_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        plain().fit(X, TARGET, verbose=0, callbacks=[tfdump.DumpCallback(tmp_path / name, X[:5])])
    first, second = ((tmp_path / name / "epoch-0001.activations.h5").read_bytes() for name in ("one", "two"))
    assert first == second


class Traced(layers.Layer):
    """Counts how often Python runs it."""

    calls = 0

    def call(self, inputs: Any) -> Any:
        type(self).calls += 1
        return inputs * 2


def test_a_model_is_traced_once_a_training(tmp_path: Path) -> None:
    def calls_of(callbacks: list[Any]) -> int:
        model = keras.Sequential([keras.Input((6,)), Traced(), layers.Dense(1)])
        model.compile("sgd", "mse")
        Traced.calls = 0
        model.fit(X, TARGET, epochs=6, verbose=0, callbacks=callbacks)
        return Traced.calls

    assert calls_of([tfdump.DumpCallback(tmp_path, X)]) - calls_of([]) == 1


def test_what_is_frozen_in_between_is_seen(tmp_path: Path) -> None:
    class Freeze(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            self.model.get_layer("a").trainable = epoch == 0

    callback = tfdump.DumpCallback(tmp_path, X, TARGET, wrt="weights")
    with pytest.warns(TfdumpWarning, match=r"a\.kernel, a\.bias \(not trainable\)"):
        plain().fit(X, TARGET, epochs=2, verbose=0, callbacks=[Freeze(), callback])
    for epoch, names in ((1, ["a.kernel", "a.bias", "b.kernel", "b.bias"]), (2, ["b.kernel", "b.bias"])):
        with tfdump.open(tmp_path / f"epoch-000{epoch}.gradients.h5") as dump:
            assert list(dump) == names


def test_a_model_that_runs_eagerly_is_looked_at_anew(tmp_path: Path) -> None:
    class Scaled(layers.Layer):
        factor = 1.0

        def call(self, inputs: Any) -> Any:
            return inputs * self.factor

    class Anneal(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            self.model.get_layer("scaled").factor = epoch + 1.0

    model = keras.Sequential([keras.Input((6,)), Scaled(name="scaled"), layers.Dense(1)])
    model.compile("sgd", "mse", run_eagerly=True)
    model.fit(X[:4], TARGET[:4], epochs=2, verbose=0, callbacks=[Anneal(), tfdump.DumpCallback(tmp_path, X[:4])])
    for epoch in (1, 2):
        with tfdump.open(tmp_path / f"epoch-000{epoch}.activations.h5") as dump:
            np.testing.assert_array_equal(dump["scaled"][()], epoch * X[:4])


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_only_the_latest_of_its_own_are_kept(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    plain().fit(X, TARGET, verbose=0, callbacks=[tfdump.DumpCallback(tmp_path, X)])
    callbacks = [
        tfdump.DumpCallback(tmp_path, X, keep=2),
        tfdump.DumpCallback(tmp_path, X, TARGET, wrt="inputs", keep=1),
    ]
    plain().fit(X, TARGET, epochs=5, initial_epoch=1, verbose=0, callbacks=callbacks)
    assert names_in(tmp_path) == [
        "epoch-0001.activations.h5", "epoch-0004.activations.h5", "epoch-0005.activations.h5",
        "epoch-0005.gradients.h5", "notes.txt",
    ]  # fmt: skip


def test_dumps_of_an_earlier_training_are_refused_or_removed_or_gone_on_from(tmp_path: Path) -> None:
    def fit(epochs: int, initial: int = 0, **options: Any) -> None:
        model = plain()
        model.optimizer.iterations.assign(3 * initial)
        callback = tfdump.DumpCallback(tmp_path, X, **options)
        model.fit(X, TARGET, batch_size=7, epochs=epochs, initial_epoch=initial, verbose=0, callbacks=[callback])

    fit(3)
    with pytest.raises(DumpError, match=r"has dumps of an earlier training \(epoch-0001\.activations\.h5\); choose"):
        fit(1)
    with pytest.raises(DumpError, match=r"\(epoch-0003\.activations\.h5\)"):
        fit(4, initial=2)
    fit(5, initial=3)
    assert names_in(tmp_path) == [f"epoch-000{n}.activations.h5" for n in range(1, 6)]
    with tfdump.open(tmp_path / "epoch-0005.activations.h5") as dump:
        assert dump.attributes["batch"] == 15
    fit(2, initial=1, overwrite=True)
    assert names_in(tmp_path) == ["epoch-0001.activations.h5", "epoch-0002.activations.h5"]


def test_a_file_of_someone_else_is_never_removed(tmp_path: Path) -> None:
    precious = tmp_path / "epoch-0001.activations.h5"
    for content, words in ((b"no dump", "is not an HDF5 file"), (None, r"was not made by tfdump\.DumpCallback")):
        if content is not None:
            precious.write_bytes(content)
        else:
            precious.unlink()
            shutil.copy(make_dump(tmp_path), precious)
        before = precious.read_bytes()
        with pytest.raises(DumpError, match=f"{words}, and the training will write a dump of that"):
            plain().fit(X, TARGET, verbose=0, callbacks=[tfdump.DumpCallback(tmp_path, X, overwrite=True)])
        assert precious.read_bytes() == before


def make_dump(folder: Path) -> Path:
    from support.dump_folders import write_dump

    return write_dump(folder / "other.h5", {"a": X})


class Meanwhile(keras.callbacks.Callback):
    """Does something when an epoch ends, before the dump is made."""

    def __init__(self, what: Callable[[int], None]) -> None:
        super().__init__()
        self._what = what

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self._what(epoch)


def test_a_folder_that_goes_away_does_not_end_the_training(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    remove = Meanwhile(lambda epoch: shutil.rmtree(folder) if epoch == 1 else None)
    with pytest.warns(TfdumpWarning) as record:
        history = plain().fit(X, TARGET, epochs=3, verbose=0, callbacks=[remove, tfdump.DumpCallback(folder, X)])
    assert len(history.history["loss"]) == 3
    assert [str(warning.message) for warning in record] == [
        f"no dump epoch-0002.activations.h5: the folder {folder} is gone; the training continues",
        f"no dump epoch-0003.activations.h5: the folder {folder} is gone; the training continues",
        f"2 of 3 dumps in {folder} could not be written",
    ]


def test_or_ends_it_where_that_was_asked_for(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    remove = Meanwhile(lambda epoch: shutil.rmtree(folder))
    with pytest.raises(DumpError, match="is gone"):
        plain().fit(X, TARGET, verbose=0, callbacks=[remove, tfdump.DumpCallback(folder, X, on_error="raise")])


@pytest.fixture
def small_files() -> Iterator[Callable[[int], None]]:
    """No file may grow beyond so many bytes, as on a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_leaves_no_half_file_and_the_next_dump_is_made(
    tmp_path: Path, small_files: Callable[[int], None]
) -> None:
    limit = Meanwhile(lambda epoch: small_files(4000 if epoch == 0 else resource.RLIM_INFINITY))
    model = plain()
    with pytest.warns(TfdumpWarning, match=r"no dump epoch-0001\.activations\.h5: cannot write .*: File too large"):
        model.fit(X, TARGET, epochs=2, verbose=0, callbacks=[limit, tfdump.DumpCallback(tmp_path, X)])
    assert names_in(tmp_path) == ["epoch-0002.activations.h5"]


def test_an_error_of_the_user_leaves_model_and_callback_usable(tmp_path: Path) -> None:
    class Failing(keras.callbacks.Callback):
        armed = True

        def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
            if batch == 2 and self.armed:
                raise RuntimeError("mine")

    original = keras.Operation.__call__
    callback, failing = tfdump.DumpCallback(tmp_path, X[:5], TARGET[:5], wrt="inputs", on="batch"), Failing()
    model, twin = plain(), plain()
    with pytest.raises(RuntimeError, match="mine"):
        model.fit(X, TARGET, batch_size=7, shuffle=False, verbose=0, callbacks=[failing, callback])
    assert names_in(tmp_path) == ["batch-000001.gradients.h5"]
    assert keras.Operation.__call__ is original
    twin.fit(X[:14], TARGET[:14], batch_size=7, shuffle=False, verbose=0)
    assert all(map(np.array_equal, model.get_weights(), twin.get_weights()))
    failing.armed = False
    shutil.rmtree(tmp_path)
    for one, callbacks in ((model, [failing, callback]), (twin, [])):
        one.fit(X, TARGET, batch_size=7, shuffle=False, verbose=0, callbacks=callbacks)
    assert all(map(np.array_equal, model.get_weights(), twin.get_weights()))
    assert len(names_in(tmp_path)) == 3


def test_an_interruption_in_the_middle_of_a_dump_leaves_no_half_file(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # the suite may have been started without it
    request.addfinalizer(lambda: signal.signal(signal.SIGINT, before))

    class Interrupting(layers.Layer):
        armed = False

        def call(self, inputs: Any) -> Any:
            if self.armed and not tf.executing_eagerly():
                os.kill(os.getpid(), signal.SIGINT)
            return inputs + 1

    model = keras.Sequential([keras.Input((6,)), Interrupting(name="layer"), layers.Dense(1)])
    model.compile("sgd", "mse", run_eagerly=True)
    arm = Meanwhile(lambda epoch: setattr(model.get_layer("layer"), "armed", True))
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, TARGET, epochs=2, verbose=0, callbacks=[arm, tfdump.DumpCallback(tmp_path, X)])
    assert names_in(tmp_path) == []
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"every": 0}, "every 0 is not a whole number of at least 1"),
        ({"every": 1.5}, r"every 1\.5 is not a whole number of at least 1"),
        ({"keep": 0}, "keep 0 is not a whole number of at least 1"),
        ({"on": "step"}, "on 'step' is neither 'epoch' nor 'batch'"),
        ({"on_error": "ignore"}, "on_error 'ignore' is neither 'warn' nor 'raise'"),
        ({"y": TARGET}, "y is for gradients, and without wrt"),
        ({"loss": "mse"}, "loss is for gradients"),
        ({"norms_only": True}, "norms_only is for gradients"),
        ({"wrt": "weights", "y": TARGET, "attention": True}, "attention is for activations, and wrt"),
        ({"wrt": "weights", "reduce": "mean"}, "reduce is for activations"),
        ({"wrt": "weight"}, r"wrt \['weight'\]: choose from weights, activations, inputs"),
        ({"layers": ""}, "empty layer pattern"),
        ({"layers": "re:("}, "is not a regular expression"),
        ({"depth": 0}, "depth 0 is below 1"),
        ({"reduce": "median"}, "median"),
        ({"dtype": "int8"}, "dtype 'int8' is none of"),
        ({"compression": "lzf"}, "compression 'lzf' is not one of none, gzip, zstd"),
        ({"memory": "much"}, "'much' is not a number of bytes"),
        ({"batch_size": 0}, "batch_size 0"),
        ({"seed": -1}, "seed -1"),
        ({"stats_only": True, "dtype": "float16"}, "stats_only=True stores none"),
    ],
)
def test_arguments_that_make_no_sense_are_refused_at_once(tmp_path: Path, options: dict[str, Any], words: str) -> None:
    with pytest.raises(TfdumpError, match=words) as caught:
        tfdump.DumpCallback(tmp_path, X, **options)
    assert "\n" not in str(caught.value)


def test_a_file_in_place_of_the_folder_is_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("")
    with pytest.raises(DumpError, match="is a file, and the dumps need a folder"):
        tfdump.DumpCallback(tmp_path / "run", X)


@pytest.mark.parametrize(
    ("x", "options", "error", "words"),
    [
        (X, {"layers": "c*"}, SelectionError, "no layer matches 'c\\*'"),
        (X[:, :4], {}, InputError, "6"),
        (X, {"wrt": "weights"}, InputError, "the targets are missing: 'compiled: mse' needs them"),
        (X, {"wrt": "weights", "y": TARGET[:3]}, InputError, "20"),
        (X, {"wrt": "weights", "loss": "nonsense", "y": TARGET}, ModelError, "nonsense"),
        (X, {"wrt": "weights", "objective": "c[0]"}, ModelError, "has no output 'c'"),
    ],
)
def test_what_does_not_fit_the_model_is_an_error_before_the_first_batch(
    tmp_path: Path, x: np.ndarray, options: dict[str, Any], error: type[TfdumpError], words: str
) -> None:
    model = plain()
    before = model.get_weights()
    with pytest.raises(error, match=words):
        model.fit(X, TARGET, epochs=9, verbose=0, callbacks=[tfdump.DumpCallback(tmp_path / "run", x, **options)])
    assert all(map(np.array_equal, model.get_weights(), before))
    assert not any(layer._losses for layer in model.layers)
    model.fit(X, TARGET, verbose=0)


def test_a_step_of_its_own_needs_a_loss_by_name(tmp_path: Path) -> None:
    model = make("own step")
    model.build((None, 6))
    with pytest.raises(ModelError, match="the model overrides train_step to compute its loss"):
        model.fit(X, Y, verbose=0, callbacks=[tfdump.DumpCallback(tmp_path, X, Y, wrt="weights")])


def test_options_reach_the_dump(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("stats", "norms", "one")]
    callbacks = [
        tfdump.DumpCallback(folders[0], X, stats_only=True, preactivation=True, outputs=True, layers=("a", "b")),
        tfdump.DumpCallback(folders[1], X, TARGET, wrt="activations", norms_only=True, loss="mae"),
        tfdump.DumpCallback(folders[2], X, wrt="inputs", objective="sum", dtype="float64", compression="gzip"),
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TfdumpWarning)
        plain().fit(X, TARGET, verbose=0, callbacks=callbacks)
    with tfdump.open(folders[0] / "epoch-0001.activations.h5") as dump:
        assert not dump["a"].has_values
        assert dump["a"].statistics["count"] == 80
    with tfdump.open(folders[1] / "epoch-0001.gradients.h5") as dump:
        assert dump["a"].shape == (20,)
        assert dump.attributes["loss"] == "mae"
    with tfdump.open(folders[2] / "epoch-0001.gradients.h5") as dump:
        (name,) = dump
        assert dump[name].stored_dtype == "float64"


def test_a_picture_is_drawn_beside_every_dump_and_removed_with_it(tmp_path: Path) -> None:
    callbacks = [
        tfdump.DumpCallback(tmp_path, X, picture="a", keep=1),
        tfdump.DumpCallback(tmp_path, X, TARGET, wrt="weights", picture="flow"),
    ]
    plain().fit(X, TARGET, epochs=2, verbose=0, callbacks=callbacks)
    assert names_in(tmp_path) == [
        "epoch-0001.gradients.flow.png", "epoch-0001.gradients.h5", "epoch-0002.activations.a.png",
        "epoch-0002.activations.h5", "epoch-0002.gradients.flow.png", "epoch-0002.gradients.h5",
    ]  # fmt: skip
    for path in tmp_path.glob("*.png"):
        assert path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_a_picture_of_what_is_not_dumped_is_an_error_before_the_training(tmp_path: Path) -> None:
    callback = tfdump.DumpCallback(tmp_path, X, layers="a", picture="aa")
    with pytest.raises(
        DumpError, match="picture 'aa' is neither 'flow' nor the address of a tensor of the dumps; near: 'a'"
    ):
        plain().fit(X, TARGET, verbose=0, callbacks=[callback])


def test_a_picture_that_cannot_be_drawn_is_said_once(tmp_path: Path) -> None:
    callback = tfdump.DumpCallback(tmp_path, X, layers="a", stats_only=True, picture="a")
    with pytest.warns(TfdumpWarning, match="no picture of 'a' beside epoch-0001.*has statistics and no values"):
        plain().fit(X, TARGET, verbose=0, callbacks=[callback])
    assert names_in(tmp_path) == ["epoch-0001.activations.h5"]


def test_several_batches_an_execution_reach_the_interval_once(tmp_path: Path) -> None:
    model = plain()
    model.compile("sgd", "mse", steps_per_execution=3)
    callback = tfdump.DumpCallback(tmp_path, X[:4], on="batch", every=2)
    model.fit(X, TARGET, batch_size=4, epochs=2, verbose=0, callbacks=[callback])  # 5 batches: 3 and 2
    assert names_in(tmp_path) == [f"batch-{n:06d}.activations.h5" for n in (3, 5, 8, 10)]


def test_a_callback_can_be_copied(tmp_path: Path) -> None:
    """As tuners do, for each trial."""
    callback = copy.deepcopy(tfdump.DumpCallback(tmp_path, X))
    plain().fit(X, TARGET, verbose=0, callbacks=[callback])
    assert names_in(tmp_path) == ["epoch-0001.activations.h5"]


def test_an_object_of_keras_it_is(tmp_path: Path) -> None:
    assert isinstance(tfdump.DumpCallback(tmp_path, X), keras.callbacks.Callback)
