"""Two models compared batch by batch get the verdicts that `diff` gives to the dumps of both."""

import threading
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

import tfdump
from support.command import SAMPLES, Run
from support.converted_models import randomized
from support.saved_formats import exported, lite, sample
from support.tiny_models import floats, many_outputs, recurrent, submodel_twice, two_inputs
from tfdump.comparison.verdict import Comparison, DiffReport
from tfdump.errors import DumpError, InputError, TfdumpError

pytestmark = [pytest.mark.tensorflow, pytest.mark.filterwarnings("ignore::tfdump.TfdumpWarning")]

DIGITS = np.load(SAMPLES / "digits.npy")


def verdicts(report: DiffReport) -> list[tuple[Any, ...]]:
    """What a report says of every tensor, apart from the sentences; the inputs are not computed."""
    return [
        (
            *(tensor.name, tensor.new_name, tensor.status, tensor.fails, tensor.shape, tensor.new_shape),
            *(tensor.compared_by, tensor.paired_by, tensor.comparison and numbers(tensor.comparison)),
        )
        for tensor in report.tensors
        if not (tensor.name or "").startswith("inputs/")
    ]


def numbers(comparison: Comparison) -> tuple[Any, ...]:
    """The numbers of a comparison; a cosine depends on the order of summation."""
    return (
        *(comparison.count, comparison.failed, comparison.index, comparison.part, comparison.max_error),
        *(str(comparison.golden), str(comparison.new), comparison.scale, round(comparison.cosine or 0, 9)),
    )


class BothRoutes:
    """Compares two models directly, and by two dumps with the same batch size."""

    def __init__(self, tfdump_run: Run, folder: Path) -> None:
        self._run = tfdump_run
        self._folder = folder

    def dump(self, model: Path, name: str, x: Path, *options: str) -> Path:
        target = self._folder / name
        done = self._run("activations", model, x, "-o", target, "-f", "--trust-model", "-q", *options)
        assert done.returncode == 0, done.stderr
        return target

    def __call__(
        self, golden: Path, new: Path, x: Any, batch: int | None = 64, new_options: tuple[str, ...] = (), **options: Any
    ) -> DiffReport:
        if isinstance(x, dict):
            file = self._folder / "x.npz"
            np.savez(file, **x)
        else:
            file = self._folder / "x.npy"
            np.save(file, x)
        size = () if batch is None else ("--batch-size", str(batch))
        like = ("--like", str(golden)) if new.suffix == ".tflite" else ()
        dumps = self.dump(golden, "g.h5", file, *size), self.dump(new, "n.h5", file, *size, *new_options, *like)
        expected = tfdump.diff(*dumps, **options)
        report = tfdump.compare(
            golden, new, file, batch_size=batch, trust=True, new_dequantize="--dequantize" in new_options, **options
        )
        assert verdicts(report) == verdicts(expected)
        assert report.same == expected.same
        assert (report.first and report.first.name) == (expected.first and expected.first.name)
        return report


@pytest.fixture
def both(tfdump: Run, tmp_path: Path) -> BothRoutes:
    return BothRoutes(tfdump, tmp_path)


def saved(model: keras.Model, file: Path) -> Path:
    model.save(file)
    return file


def changed(model: keras.Model, layer: str, factor: float, file: Path) -> Path:
    """The model with one kernel multiplied."""
    kernel = model.get_layer(layer).kernel
    before = kernel.numpy()
    kernel.assign(before * factor)
    model.save(file)
    kernel.assign(before)
    return file


def test_a_float_conversion_agrees(both: BothRoutes, tmp_path: Path) -> None:
    report = both(SAMPLES / "digits_cnn.keras", lite(sample("digits_cnn"), tmp_path / "m.tflite"), DIGITS)
    assert report.same
    assert report.count("same") == 10


def test_a_saved_model_agrees(both: BothRoutes, tmp_path: Path) -> None:
    folder = exported(sample("digits_cnn"), tmp_path / "exported")
    report = both(SAMPLES / "digits_cnn.keras", folder, DIGITS[:100], batch=None, allow_missing=True)
    assert report.same
    assert report.count("same") >= 10


def test_a_quantized_file_differs_in_the_same_elements(both: BothRoutes, tmp_path: Path) -> None:
    file = lite(sample("digits_cnn"), tmp_path / "m.tflite", "int8", DIGITS[:100])
    report = both(SAMPLES / "digits_cnn.keras", file, DIGITS, new_options=("--dequantize",))
    assert not report.same
    report = both(SAMPLES / "digits_cnn.keras", file, DIGITS, new_options=("--dequantize",), min_cosine=0.99)
    assert report.count("differs") == 0
    raw = both(SAMPLES / "digits_cnn.keras", file, DIGITS, min_cosine=0.99)
    assert any("holds quantized integers" in note for note in raw.notes)
    assert [one.comparison for one in raw.tensors] == [one.comparison for one in report.tensors]
    report = both(SAMPLES / "digits_cnn.keras", file, DIGITS, exact=True)
    assert "integers (int8), golden has floats (float32)" in {tensor.reason for tensor in report.tensors}


@pytest.mark.parametrize("batch", [7, 300, None])
def test_a_changed_weight_is_seen_at_its_layer(both: BothRoutes, tmp_path: Path, batch: int | None) -> None:
    file = changed(sample("digits_cnn"), "conv2", 1.001, tmp_path / "changed.keras")
    report = both(SAMPLES / "digits_cnn.keras", file, DIGITS, batch)
    assert report.first is not None
    assert report.first.name == "activations/conv2"


@pytest.mark.parametrize("options", [{"exact": True}, {"max_ulp": 3}, {"scale": {"conv2": 1e-3}, "rtol": 0.0}])
def test_every_criterion_gives_the_same_verdict(both: BothRoutes, tmp_path: Path, options: dict[str, Any]) -> None:
    file = changed(sample("digits_cnn"), "conv2", 1 + 1e-6, tmp_path / "changed.keras")
    both(SAMPLES / "digits_cnn.keras", file, DIGITS, 50, **options)


def test_selection_map_and_ignored_tensors(both: BothRoutes, tmp_path: Path) -> None:
    file = changed(sample("digits_cnn"), "conv2", 1.1, tmp_path / "changed.keras")
    report = both(SAMPLES / "digits_cnn.keras", file, DIGITS, layers=["conv*", "pool"], ignore="pool")
    assert [tensor.name for tensor in report.tensors] == [
        "activations/conv1", "activations/conv2", "activations/pool"
    ]  # fmt: skip
    both(SAMPLES / "digits_cnn.keras", file, DIGITS, renamed={"conv1": "conv2", "conv2": "conv1"}, pair="names")


def test_the_worst_element_is_that_of_numpy(tmp_path: Path) -> None:
    x = floats(23, 6)
    first = keras.Sequential([keras.Input((6,)), layers.Dense(5, name="one"), layers.Dense(4, name="two")])
    second = keras.models.clone_model(first)
    second.set_weights([w + 1e-3 * floats(*w.shape, seed=4) for w in first.get_weights()])
    report = tfdump.compare(first, second, x, batch_size=4)
    (a, b), (c, d) = ((layer.kernel.numpy() for layer in model.layers) for model in (first, second))
    values = [(x @ a, x @ c + second.layers[0].bias.numpy())]
    values.append((values[0][0] @ b, values[0][1] @ d + second.layers[1].bias.numpy()))
    for (golden, new), name in zip(values, ("one", "two"), strict=True):
        (tensor,) = [one for one in report.tensors if one.name == f"activations/{name}"]
        error = np.abs(new.astype(float) - golden.astype(float))
        bound = 1e-4 * np.abs(golden) + 1e-5 * np.abs(golden).max()
        assert tensor.comparison is not None
        assert tensor.comparison.index == np.unravel_index((error - 1e-4 * np.abs(golden)).argmax(), error.shape)
        assert tensor.comparison.max_error == pytest.approx(error.max(), rel=1e-3)
        assert tensor.comparison.failed == pytest.approx((error > bound).sum(), abs=1)
        assert tensor.shape == golden.shape


@pytest.mark.parametrize("make", [many_outputs, recurrent, submodel_twice, two_inputs])
def test_other_models_agree_with_themselves_and_their_saved_model(both: BothRoutes, tmp_path: Path, make: Any) -> None:
    case = make()
    x = case.x
    if isinstance(x, (list, tuple)):
        x = dict(zip((tensor.name for tensor in case.model.inputs), x, strict=True))
    file = saved(case.model, tmp_path / "m.keras")
    assert both(file, file, x, 4).same
    if make is not many_outputs:  # which Keras does not export
        both(file, exported(case.model, tmp_path / "exported"), x, 4)


def odd_axes(factor: float) -> keras.Model:
    """Tensors without a row per example: a table, a similarity of the batch, a number, and heads times examples."""
    x = keras.Input((6,), name="x")
    table = layers.Lambda(lambda t: ops.reshape(ops.arange(12, dtype="float32"), (3, 4)) * factor, name="table")(x)
    alike = layers.Lambda(lambda t: ops.matmul(t, ops.transpose(t)) * factor, name="alike")(x)
    mean = layers.Lambda(lambda t: ops.mean(t) * factor, name="mean")(x)
    heads = layers.Lambda(lambda t: ops.reshape(t, (-1, 3)) * factor, name="heads")(x)
    return keras.Model(x, [table, alike, mean, heads])


@pytest.mark.parametrize("factor", [1.0, 1.5])
@pytest.mark.parametrize("batch", [4, 6])
def test_tensors_without_a_row_per_example(tfdump: Run, tmp_path: Path, factor: float, batch: int) -> None:
    x = floats(12 if batch == 6 else 10, 6)
    dumps = []
    for name, one in (("g", 1.0), ("n", factor)):
        keras.utils.clear_session()
        saved(odd_axes(one), tmp_path / f"{name}.keras")
        dumps.append(tmp_path / f"{name}.h5")
    np.save(tmp_path / "x.npy", x)
    both = BothRoutes(tfdump, tmp_path)
    report = both(tmp_path / "g.keras", tmp_path / "n.keras", x, batch)
    assert report.same == (factor == 1)
    assert report.count("differs") == (0 if factor == 1 else len(report.tensors))


def test_text_and_ragged_tensors(both: BothRoutes, tmp_path: Path) -> None:
    x = np.load(SAMPLES / "text.npz")
    file = SAMPLES / "text_gru.keras"
    inputs = {name: x[name] for name in x.files}
    assert both(file, file, inputs, 16).same


def test_a_model_of_a_fixed_batch_size_runs_beside_one_of_any(tmp_path: Path) -> None:
    keras.utils.clear_session()
    model = randomized(keras.Sequential([keras.Input((6,)), layers.Dense(5, name="a"), layers.Dense(4, name="b")]))
    keras.utils.clear_session()
    fixed = keras.Sequential([keras.Input(batch_shape=(4, 6)), layers.Dense(5, name="a"), layers.Dense(4, name="b")])
    fixed.set_weights(model.get_weights())
    three = keras.Sequential([keras.Input(batch_shape=(3, 6)), layers.Dense(5, name="a"), layers.Dense(4, name="b")])
    three.set_weights(model.get_weights())
    x = floats(10, 6)
    for golden, new in ((model, fixed), (fixed, model), (fixed, three)):
        report = tfdump.compare(golden, new, x)
        assert report.same
        assert {tensor.shape for tensor in report.tensors} == {(10, 5), (10, 4)}
    three.layers[0].kernel.assign(three.layers[0].kernel * 2)
    report = tfdump.compare(fixed, three, x)
    error = np.abs(x @ model.layers[0].kernel.numpy())
    assert report.first is not None
    assert report.first.comparison is not None
    assert report.first.comparison.max_error == pytest.approx(error.max(), rel=1e-4)
    assert report.first.comparison.index == np.unravel_index(error.argmax(), error.shape)


def test_two_models_in_memory_with_the_same_names_do_not_disturb_each_other(tmp_path: Path) -> None:
    first, second = sample("digits_cnn"), sample("digits_cnn")
    second.get_layer("hidden").kernel.assign(second.get_layer("hidden").kernel * 1.5)
    outputs = [model.predict(DIGITS[:20], verbose=0) for model in (first, second)]
    report = tfdump.compare(first, second, DIGITS[:20], batch_size=6)
    assert report.first is not None
    assert report.first.name == "activations/hidden"
    (last,) = [tensor for tensor in report.tensors if tensor.name == "activations/predictions"]
    assert last.comparison is not None
    assert last.comparison.max_error == pytest.approx(np.abs(outputs[0] - outputs[1]).max(), rel=1e-3)
    for model, before in zip((first, second), outputs, strict=True):
        np.testing.assert_array_equal(model.predict(DIGITS[:20], verbose=0), before)
    assert tfdump.compare(first, first, DIGITS[:20]).same


def test_first_stops_at_the_first_batch_that_differs(tmp_path: Path) -> None:
    keras.utils.clear_session()
    x = keras.Input((3,))
    golden = keras.Model(x, layers.Dense(2, name="d")(layers.ReLU(name="r")(x)))
    other = layers.ReLU(name="r", max_value=5.0)
    new = keras.Model(x, layers.Dense(2, name="d")(other(x)))
    new.set_weights(golden.get_weights())
    data = np.abs(floats(40, 3))
    data[17] = 9
    report = tfdump.compare(golden, new, data, batch_size=4, first=True)
    assert not report.same
    assert "stopped at the first batch that differs: 20 of 40 examples were compared" in report.notes
    assert {tensor.shape[0] for tensor in report.tensors if tensor.shape} == {20}
    assert report.first is not None
    assert report.first.comparison is not None
    assert report.first.comparison.index is not None
    assert report.first.comparison.index[0] == 17
    data[17] = 1
    report = tfdump.compare(golden, new, data, batch_size=4, first=True)
    assert report.same
    assert {tensor.shape[0] for tensor in report.tensors if tensor.shape} == {40}


def test_a_tensor_that_changes_its_form_late_is_said(tmp_path: Path) -> None:
    def model(factor: float) -> keras.Model:
        keras.utils.clear_session()
        x = keras.Input((3,), name="x")
        table = layers.Lambda(lambda t: ops.ones((2, 2)) * factor * ops.cast(ops.max(t) > 5, "float32"), name="table")(
            x
        )
        return keras.Model(x, [table, layers.Lambda(lambda t: t * 2, name="twice")(x)])

    data = np.abs(floats(12, 3))
    data[9] = 9
    report = tfdump.compare(model(1.0), model(1.0), data, batch_size=4)
    assert report.same
    assert [note for note in report.notes if "changed their form in batch 3: table" in note]
    report = tfdump.compare(model(1.0), model(2.0), data, batch_size=4)
    assert report.first is not None
    assert (report.first.name, report.first.shape) == ("activations/table", (3, 2, 2))
    assert report.first.comparison is not None
    assert (report.first.comparison.count, report.first.comparison.failed) == (12, 4)
    assert report.first.comparison.index == (2, 0, 0)


def test_a_golden_dump_takes_the_place_of_a_model(both: BothRoutes, tmp_path: Path) -> None:
    golden = both.dump(SAMPLES / "digits_cnn.keras", "golden.h5", SAMPLES / "digits.npy", "--batch-size", "30")
    file = changed(sample("digits_cnn"), "conv2", 1.01, tmp_path / "changed.keras")
    new = both.dump(file, "new.h5", SAMPLES / "digits.npy", "--batch-size", "30")
    report = tfdump.compare(golden, file, SAMPLES / "digits.npy", batch_size=7)
    assert verdicts(report) == verdicts(tfdump.diff(golden, new))
    turned = tfdump.compare(file, golden, SAMPLES / "digits.npy", batch_size=7)
    assert verdicts(turned) == verdicts(tfdump.diff(new, golden))
    same = tfdump.compare(golden, SAMPLES / "digits_cnn.keras", SAMPLES / "digits.npy")
    assert same.same
    part = tfdump.compare(golden, file, DIGITS[:40])
    assert not part.same
    assert {tensor.shape[0] for tensor in part.tensors if tensor.shape} == {40}


@pytest.mark.parametrize("factor", [1.0, 1.01])
def test_a_golden_dump_of_statistics(both: BothRoutes, tmp_path: Path, factor: float) -> None:
    golden = both.dump(SAMPLES / "digits_cnn.keras", "golden.h5", SAMPLES / "digits.npy", "--stats-only")
    file = changed(sample("digits_cnn"), "conv2", factor, tmp_path / "changed.keras")
    new = both.dump(file, "new.h5", SAMPLES / "digits.npy")
    expected = tfdump.diff(golden, new)
    report = tfdump.compare(golden, file, SAMPLES / "digits.npy", batch_size=64)
    assert [(t.name, t.status, t.compared_by) for t in report.tensors] == [
        (t.name, t.status, t.compared_by) for t in expected.tensors
    ]
    assert (report.first and report.first.name) == (None if factor == 1 else "activations/conv2")
    with pytest.raises(DumpError, match="made with examples 0 to 299, and the inputs have 0 to 39"):
        tfdump.compare(golden, file, DIGITS[:40])


def test_a_dump_of_other_inputs_is_refused(both: BothRoutes, tmp_path: Path) -> None:
    golden = both.dump(SAMPLES / "digits_cnn.keras", "golden.h5", SAMPLES / "digits.npy")
    with pytest.raises(DumpError, match="made with other inputs"):
        tfdump.compare(golden, SAMPLES / "digits_cnn.keras", DIGITS[::-1].copy())
    with pytest.raises(DumpError, match=r"examples 0 to 299, and the inputs have 0 to 399 \(--examples 0:300"):
        tfdump.compare(golden, SAMPLES / "digits_cnn.keras", np.concatenate([DIGITS, DIGITS[:100]]))
    with pytest.raises(TfdumpError, match="both sides are dumps"):
        tfdump.compare(golden, golden, DIGITS)


def test_models_of_different_inputs_are_refused_in_one_line() -> None:
    with pytest.raises(InputError) as raised:
        tfdump.compare(SAMPLES / "digits_cnn.keras", SAMPLES / "wine_mlp.keras", DIGITS)
    message = str(raised.value)
    assert "\n" not in message
    assert "digits_cnn.keras takes 'image' (?, 8, 8, 1)" in message
    assert "wine_mlp.keras takes" in message


def pair_of_inputs(names: tuple[str, str], order: int = 1) -> keras.Model:
    keras.utils.clear_session()
    a, b = (keras.Input((3,), name=name) for name in names)
    out = layers.Subtract(name="difference")([layers.ReLU(name="left")(a), layers.ReLU(name="right")(b)])
    return keras.Model([a, b][::order], out)


def test_inputs_of_other_names_correspond_in_order() -> None:
    data = [floats(8, 3), floats(8, 3, seed=2)]
    first, second = pair_of_inputs(("a", "b")), pair_of_inputs(("c", "d"))
    with pytest.warns(tfdump.TfdumpWarning, match="inputs correspond by order and shape: a = c, b = d"):
        assert tfdump.compare(first, second, data).same
    assert tfdump.compare(first, second, dict(zip("ab", data, strict=True))).same
    turned = pair_of_inputs(("a", "b"), order=-1)
    assert tfdump.compare(first, turned, data).same


def test_what_runs_beside_ends_with_the_comparison() -> None:
    before = threading.active_count()
    tfdump.compare(sample("digits_cnn"), sample("digits_cnn"), DIGITS, batch_size=50)
    assert threading.active_count() == before


def test_a_layer_that_equals_its_relu_in_the_first_batch_does_not_differ(tmp_path: Path) -> None:
    """The file has one tensor for both. `--first` goes on to the end, because nothing differs."""
    x = keras.Input((4,))
    model = keras.Model(x, layers.Dense(2, name="next")(layers.ReLU(name="relu")(layers.Dense(4, name="layer")(x))))
    model.get_layer("layer").set_weights([np.eye(4), np.zeros(4)])
    model.get_layer("next").bias.assign([0.5, -0.5])
    inputs = np.random.default_rng(0).standard_normal((6, 4)).astype("f4")
    inputs[:2] = np.abs(inputs[:2])
    file = lite(model, tmp_path / "new.tflite")
    report = tfdump.compare(model, file, inputs, batch_size=1, first=True)
    assert report.same, report.summary
    assert [t.status for t in report.tensors if t.name == "activations/layer"] == ["fused"]
    assert not any("stopped" in note for note in report.notes)
    model.get_layer("layer").set_weights([np.eye(4), np.full(4, 0.25)])
    report = tfdump.compare(model, file, inputs, batch_size=1, first=True)
    assert not report.same
