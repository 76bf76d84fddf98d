"""`--stats` alone, `--stats quantiles`, and what a dump of statistics tells `tfdump ranges`."""

import json
from pathlib import Path

import h5py
import numpy as np
import pytest
from click.shell_completion import ShellComplete

import tfdump as library
from support.command import SAMPLES, Ended, Run
from support.terminals import on_terminal
from tfdump.accumulators.quantile_histogram import QuantileAccumulator, stored_histogram
from tfdump.cli.main import cli
from tfdump.errors import TfdumpError
from tfdump.quantization.records import PERCENTS, TensorRange
from tfdump.run.options import store_options

pytestmark = pytest.mark.tensorflow

MODEL, DIGITS = str(SAMPLES / "digits_cnn.keras"), str(SAMPLES / "digits.npy")
FEW = ("--examples", "0:60", "-l", "conv1", "-l", "relu1", "-l", "predictions", "--batch-size", "25", "-q", "-f")


def dumped(tfdump: Run, *options: str) -> Ended:
    done = tfdump("activations", *options)
    assert done.returncode == 0, done.stderr
    return done


def command_of(path: Path) -> str:
    with h5py.File(path) as file:
        return str(file.attrs["command"])


@pytest.fixture
def both(tfdump: Run, tmp_path: Path) -> tuple[Path, Path]:
    """A dump with values, and one of the same examples with statistics only."""
    dumped(tfdump, MODEL, DIGITS, *FEW, "-o", "values.h5")
    dumped(tfdump, MODEL, DIGITS, *FEW, "--stats-only", "--stats", "quantiles", "-o", "statistics.h5")
    return tmp_path / "values.h5", tmp_path / "statistics.h5"


def test_the_word_is_optional_and_no_other_word_is_swallowed(tfdump: Run, tmp_path: Path) -> None:
    dumped(tfdump, "--stats", MODEL, DIGITS, *FEW, "-o", "d.h5")
    assert " --stats " in f"{command_of(tmp_path / 'd.h5')} "
    with h5py.File(tmp_path / "d.h5") as file:
        attributes = dict(file["activations/conv1"].attrs)
    assert {name for name in attributes if name.startswith("quantile")} == set()
    assert attributes["stat_count"] == 60 * 8 * 8 * 16
    dumped(tfdump, MODEL, "--stats", "quantiles", DIGITS, *FEW, "-o", "d.h5")
    assert "--stats quantiles" in command_of(tmp_path / "d.h5")
    dumped(tfdump, MODEL, DIGITS, *FEW, "-o", "d.h5", "--stats=quantiles")
    assert "--stats quantiles" in command_of(tmp_path / "d.h5")
    wrong = tfdump("activations", MODEL, DIGITS, "--stats=percentiles")
    assert wrong.returncode == 2
    assert "--stats 'percentiles' is not 'quantiles' (leave the value out" in wrong.stderr


def test_the_shell_completes_the_word_and_the_next_argument() -> None:
    completion = ShellComplete(cli, {}, "tfdump", "_TFDUMP_COMPLETE")
    for incomplete, words in (("", ["quantiles", ""]), ("qua", ["quantiles", "qua"]), ("sample", ["sample"])):
        items = completion.get_completions(["activations", "--stats"], incomplete)
        assert [(item.value, item.type) for item in items][-1] == (incomplete, "file")
        assert [item.value for item in items] == words


@pytest.mark.parametrize("stats", [True, False, None, 1, "quantiles"])
def test_in_python_it_is_a_switch_or_the_word(stats: object) -> None:
    stored = store_options(stats=stats)
    assert (stored.statistics, stored.quantiles) == (bool(stats), stats == "quantiles")
    with pytest.raises(TfdumpError, match="stats 'all' is neither True nor False, nor 'quantiles'"):
        store_options(stats="all")


@pytest.mark.parametrize(("value", "stored"), [("1", True), ("0", False), ("quantiles", True)])
def test_the_environment_sets_it_as_before(tfdump: Run, tmp_path: Path, value: str, stored: bool) -> None:
    done = tfdump("activations", MODEL, DIGITS, *FEW, "-o", "d.h5", env={"TFDUMP_ACTIVATIONS_STATS": value})
    assert done.returncode == 0, done.stderr
    with h5py.File(tmp_path / "d.h5") as file:
        assert ("stat_mean" in file["activations/conv1"].attrs) is stored
        assert ("quantile_bins" in file["activations/conv1"].attrs) is (value == "quantiles")


def test_the_histogram_is_that_of_all_values(both: tuple[Path, Path]) -> None:
    with library.open(both[0]) as values, library.open(both[1]) as statistics:
        for address in ("conv1", "relu1", "predictions"):
            gathered = QuantileAccumulator()
            gathered.add(values[address].read())
            expected, stored = gathered.histogram().within(), stored_histogram(statistics[address].attributes)
            assert stored is not None
            assert (stored.bins.tolist(), stored.counts.tolist()) == (expected.bins.tolist(), expected.counts.tolist())


def ranges_of(path: Path) -> dict[str, TensorRange]:
    return {one.tensor: one for one in library.ranges(path).ranges}


def test_statistics_tell_percentiles_within_their_error(both: tuple[Path, Path]) -> None:
    exact, told = ranges_of(both[0]), ranges_of(both[1])
    assert set(exact) == set(told)
    for name, one in told.items():
        true = exact[name]
        assert (one.count, one.zero, one.min, one.max) == (true.count, true.zero, true.min, true.max)
        for percent in PERCENTS:
            estimate, value = one.percentile(percent), true.percentile(percent)
            assert estimate is not None
            assert value is not None
            assert abs(estimate.value - value.value) <= estimate.error * (1 + 1e-12)
            assert estimate.error <= abs(value.value) / 127 + 1e-30
        assert [(w.method, w.bits, w.symmetric) for w in one.integers] == [
            (w.method, w.bits, w.symmetric) for w in true.integers
        ]
        for way, exact_way in zip(one.integers, true.integers, strict=True):
            assert way.sqnr is None
            assert way.error == 0 if way.method != "percentile" else True
            assert abs(way.scale - exact_way.scale) <= (way.error + 1e-15 if way.method != "mse" else way.scale)
        assert one.fixed_point is not None
        assert true.fixed_point is not None
        assert (one.fixed_point.type_name, one.fixed_point.sqnr) == (true.fixed_point.type_name, None)
        assert {loss.sqnr for loss in one.floats} == {None}


def test_what_statistics_cannot_tell_is_said(tfdump: Run, both: tuple[Path, Path]) -> None:
    done = tfdump("ranges", "statistics.h5", "--per-channel")
    assert "the noise of quantization needs values, channels need values" in done.stderr
    header, *rows = [line.split("\t") for line in done.stdout.splitlines()]
    assert {row[header.index("int8 symmetric max dB")] for row in rows} == {""}
    assert all(float(row[header.index("percentile error")]) > 0 for row in rows)
    document = json.loads(tfdump("ranges", "statistics.h5", "--json").stdout)
    assert document["items"][0]["percentiles"][3]["error"] > 0
    dumped(tfdump, MODEL, DIGITS, *FEW, "--stats-only", "-o", "plain.h5")
    done = tfdump("ranges", "plain.h5")
    assert "percentiles need values or --stats quantiles" in done.stderr
    assert [row.split("\t")[4:6] for row in done.stdout.splitlines()] == [row[4:6] for row in (header, *rows)]


def test_the_batch_size_does_not_change_the_histogram(tfdump: Run, tmp_path: Path) -> None:
    written = []
    for size in ("7", "60"):
        dumped(tfdump, MODEL, DIGITS, *FEW, "--stats-only", "--stats", "quantiles", "--batch-size", size, "-o", "d.h5")
        with h5py.File(tmp_path / "d.h5") as file:
            attributes = file["activations/predictions"].attrs
            written.append(
                [np.asarray(attributes[f"quantile_{name}"]).tolist() for name in ("bins", "counts", "shift")]
            )
    assert written[0] == written[1]


def test_gradients_and_weights_have_histograms_too(tfdump: Run, tmp_path: Path) -> None:
    wine = [str(SAMPLES / name) for name in ("wine_mlp.keras", "wine.npy", "wine_labels.npy")]
    options = ["--wrt", "weights", "--wrt", "activations", "--stats", "quantiles", "-o", "g.h5", "-q"]
    assert tfdump("gradients", *wine, *options).returncode == 0
    steps = ["--steps", "3", "--learning-rate", "0.01", "--save-weights", "--stats", "quantiles", "-o", "s.h5", "-q"]
    assert tfdump("gradients", *wine, *steps).returncode == 0
    for path in (tmp_path / "g.h5", tmp_path / "s.h5"):
        with library.open(path) as dump:
            for tensor in (one for one in dump.tensors() if one.connected):
                gathered = QuantileAccumulator()
                gathered.add(np.asarray(tensor))
                expected, stored = gathered.histogram().within(), stored_histogram(tensor.attributes)
                assert stored is not None
                assert (stored.bins.tolist(), stored.counts.tolist()) == (
                    expected.bins.tolist(), expected.counts.tolist(),
                )  # fmt: skip


def test_a_histogram_does_not_flood_what_show_tells(tfdump: Run, both: tuple[Path, Path]) -> None:
    table = json.loads(tfdump("show", "statistics.h5", "--json").stdout)
    item = json.loads(tfdump("show", "statistics.h5", "conv1", "--json").stdout)["items"][0]
    with h5py.File(both[1]) as file:
        bins = file["activations/conv1"].attrs["quantile_bins"].tolist()
    assert item["quantiles"] == table["items"][0]["quantiles"] == {"bins": len(bins), "shift": 45}
    assert not [name for name in item if name.startswith("quantile_")]
    screen = on_terminal("show", "statistics.h5", "conv1", cwd=both[1].parent, columns=120)
    (line,) = [line for line in screen.lines if line.startswith("quantile_bins")]
    assert line.split("  ")[-1] == (
        f"[{bins[0]}, {bins[1]}, {bins[2]}, ..., {bins[-3]}, {bins[-2]}, {bins[-1]}] ({len(bins):,} numbers)"
    )
    assert len(screen.lines) < 40
