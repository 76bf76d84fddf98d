"""What a page says of a dump: its numbers against NumPy, findings, samples, comparison, gradients."""

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from support.check_dumps import functional, normal, write_dump
from support.report_pages import bars_of, cell, columns_of, made, value
from tfdump.accumulators.statistics import ExactStatistics
from tfdump.dump.attributes import statistics_attributes
from tfdump.errors import DumpError, SelectionError
from tfdump.report.records import NONE, SAMPLED, STORED, WHOLE

GRADIENT = {"class": "Dense", "axis0": "none"}


def stored(**known: float) -> dict[str, float]:
    """Statistics as attributes of a tensor."""
    usual = {"count": 1, "min": 0.0, "max": 1.0, "mean": 0.5, "std": 0.5, "l2": 1.0, "nan": 0, "inf": 0, "zero": 0}
    return {f"stat_{name}": value for name, value in (usual | known).items()}


def test_the_numbers_of_a_row_are_those_of_numpy(tmp_path: Path) -> None:
    values = np.maximum(normal(50, 6, 6, 4), 0)
    report, page = made(write_dump(tmp_path / "a.h5", {"activations/relu": (values, {"class": "ReLU"})}))
    wide = values.astype(np.float64)
    expected = {
        "min": wide.min(), "max": wide.max(), "mean": wide.mean(), "std": wide.std(),
        "rms": np.sqrt((wide**2).mean()), "zero": (wide == 0).mean(),
    }  # fmt: skip
    for column, number in expected.items():
        assert value(page, 1, column) == pytest.approx(number, rel=1e-12), column
    assert cell(page, 1, "max").text == f"{wide.max():.3g}"
    assert cell(page, 1, "NaN, Inf").text == "0"
    assert report.rows[0].numbers.source == WHOLE


def test_the_bars_are_the_square_roots_of_the_counts(tmp_path: Path) -> None:
    values = normal(2000, 3)
    _, page = made(write_dump(tmp_path / "a.h5", {"activations/x": values}))
    counts, _ = np.histogram(values.astype(np.float64), 48, (values.min(), values.max()))
    heights = {n: max(1, round(np.sqrt(c / counts.max()) * 30)) for n, c in enumerate(counts) if c}
    assert bars_of(cell(page, 1, "histogram")) == heights
    drawn = page.the("article", id="t1").the("figure")
    assert bars_of(drawn) == heights
    assert f"tallest bar {counts.max():,}" in drawn.text


def test_a_constant_and_whole_numbers_and_truth_values_have_histograms(tmp_path: Path) -> None:
    tensors = {
        "activations/constant": np.full((4, 3), 2.5, np.float32),
        "activations/tokens": np.array([[1, 1, 4], [1, 2, 4]], np.int32),
        "activations/mask": np.array([[True, False, True]]),
    }
    _, page = made(write_dump(tmp_path / "a.h5", tensors))
    assert bars_of(cell(page, 1, "histogram")) == {0: 30}
    assert bars_of(cell(page, 2, "histogram")) == {0: 30, 1: round(30 / 3**0.5), 3: round(30 * (2 / 3) ** 0.5)}
    assert bars_of(cell(page, 3, "histogram")) == {0: round(30 / 2**0.5), 1: 30}


def test_what_has_no_histogram_says_why(tmp_path: Path) -> None:
    tensors = {
        "activations/words": (np.array([["a", "b"]], object), {}),
        "activations/empty": np.zeros((0, 3), np.float32),
        "activations/bad": np.full((2, 2), np.nan, np.float32),
        "activations/kept": (np.zeros((0, 8), np.float32), {"values": False, **stored(count=80, min=-1.5, l2=8.0)}),
        "gradients/weights/loose.kernel": (np.zeros((0, 8), np.float32), {**GRADIENT, "connected": False}),
    }  # fmt: skip
    report, page = made(write_dump(tmp_path / "a.h5", tensors))
    texts = [cell(page, row, "histogram").text for row in range(1, 6)]
    assert texts == [
        "string, no numbers",
        "empty",
        "no finite value",
        "the dump does not hold its values",
        "not connected to the loss",
    ]
    assert [row.numbers.source for row in report.rows] == [NONE, WHOLE, WHOLE, STORED, NONE]
    assert value(page, 4, "min") == -1.5
    assert value(page, 4, "norm") == pytest.approx(8 / 80**0.5)
    assert "data-v" not in cell(page, 3, "mean").attributes


def test_stored_statistics_are_taken_as_they_are(tmp_path: Path) -> None:
    """They are of the tensor as it was computed, which the values in the file need not be."""
    further = {**stored(count=900, mean=7.0, nan=3), "reduce": "mean:spatial"}
    report, page = made(write_dump(tmp_path / "a.h5", {"activations/x": (normal(5, 2), further)}))
    assert value(page, 1, "mean") == 7
    assert value(page, 1, "NaN, Inf") == 3
    assert report.rows[0].numbers.source == STORED
    assert "from the dump (before it was reduced)" in page.the("article", id="t1").text


def test_findings_are_on_top_with_their_origin_and_a_link(tmp_path: Path) -> None:
    bad = normal(20, 8)
    bad[7, 3] = np.nan
    worse = bad.copy()
    worse[2] = np.inf
    report, page = made(write_dump(tmp_path / "a.h5", {"activations/in": normal(20, 8), "activations/b": bad,
                                                       "activations/c": worse}))  # fmt: skip
    section = page.the("section", id="found")
    assert section.all("p")[0].text.startswith("NaN first appears in 'b' (example 7); everything before it is clean")
    first = section.the("table", class_="plain").all("tr")[1]
    assert [part.text for part in first.all("td")] == ["nan", "1 of 160 values are NaN", "7", "7, 3"]
    assert first.the("a").attributes["href"] == "#t2"
    assert [cell(page, row, "findings").text for row in (1, 2, 3)] == ["", "nan", "naninf"]
    assert [page.the("tr", id=f"r{n}").attributes["data-found"] for n in (1, 2, 3)] == ["0", "1", "1"]
    assert {finding.check for finding in report.checks.findings} == {"nan", "inf"}


def test_origins_along_the_graph_are_on_top_each_with_a_link(tmp_path: Path) -> None:
    first, second = normal(20, 8), normal(20, 8)
    first[7, 3], second[5, 1] = np.nan, np.nan
    read = normal(20, 8, seed=3)
    _, page = made(write_dump(tmp_path / "a.h5", {
        "inputs/x": normal(20, 8),
        "activations/read": (read, {"inputs": '["inputs/x"]'}),
        "activations/a": (first, {"inputs": '["read"]', "operation": "Log", "source": "my_layers.py:42"}),
        "activations/b": (second, {"inputs": '["read"]', "class": "Sqrt"}),
        "activations/c": (first + second, {"inputs": '["a", "b"]'}),
    }))  # fmt: skip
    texts = [part.text for part in page.the("section", id="found").all("p")[:2]]
    assert texts == [
        f"NaN starts in 'a' (Log, my_layers.py:42), example 7: its input 'read' is {float(read[7, 3]):.6g} there show",
        f"NaN starts in 'b' (Sqrt), example 5: its input 'read' is {float(read[5, 1]):.6g} there show",
    ]
    links = [part.the("a").attributes["href"] for part in page.the("section", id="found").all("p")[:2]]
    numbers = {row.address: row.number for row in made(tmp_path / "a.h5")[0].rows}
    assert links == [f"#t{numbers['a']}", f"#t{numbers['b']}"]


def test_an_origin_of_which_only_part_was_read_says_so(tmp_path: Path) -> None:
    holed = normal(4000, 40)
    holed[100:] = np.nan
    report, _ = made(write_dump(tmp_path / "a.h5", {
        "activations/a": (normal(4000, 40), {"inputs": '["inputs/x"]'}),
        "activations/b": (holed, {"inputs": '["a"]', "class": "Log"}),
    }), read_bytes=200_000)  # fmt: skip
    (origin,) = report.checks.origins
    assert origin.message.startswith(f"NaN first appears in 'b' (Log), example {origin.example}: its input 'a' is ")
    assert origin.message.endswith(" there (only part of the values was read)")
    assert not origin.certain


def test_long_lists_of_findings_are_folded_and_then_cut(tmp_path: Path) -> None:
    bad = np.full((2, 2), np.nan, np.float32)
    _, page = made(write_dump(tmp_path / "a.h5", {f"activations/x{n}": bad for n in range(130)}))
    section = page.the("section", id="found")
    open_rows, folded = (len(table.the("tbody").all("tr")) for table in section.all("table"))
    assert (open_rows, folded) == (12, 88)
    assert section.all("summary")[0].text == "88 more"
    assert "The first 100 of 130 findings" in section.text
    assert len(page.the("table", id="tensors").the("tbody").all("tr")) == 130


@pytest.fixture(scope="module")
def dump(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """1.5 MB of values of which 300 kB may be read."""
    holed = normal(4000, 40, seed=1)
    holed[1000:3000] = np.nan
    tensors = {
        "activations/small": normal(100, 4),
        "activations/large": normal(5000, 40),
        "activations/holed": holed,
    }
    return write_dump(tmp_path_factory.mktemp("large") / "a.h5", tensors)


class TestOfALargeDump:
    def test_it_samples_and_says_so(self, dump: Path) -> None:
        report, page = made(dump, read_bytes=300_000)
        small, large, _ = report.rows
        assert [row.numbers.source for row in report.rows] == [WHOLE, SAMPLED, SAMPLED]
        assert large.numbers.total == 200_000
        assert 30_000 < large.numbers.read < 40_000
        (note,) = report.notes
        count = sum(row.numbers.read for row in report.rows)
        assert note.startswith(f"sampled: the report read {count:,} of 360,400 values (")
        assert note in page.text
        assert cell(page, 2, "mean").text.startswith("≈")
        assert not cell(page, 1, "mean").text.startswith("≈")
        assert "≈: estimated from a sample" in page.text
        assert f"estimated from {large.numbers.read:,} of 200,000 values" in page.the("article", id="t2").text
        assert small.numbers.read == small.numbers.total == 400

    def test_the_estimates_are_near(self, dump: Path) -> None:
        report, page = made(dump, read_bytes=300_000)
        of_row = report.rows[1].numbers.statistics
        assert of_row["mean"] == pytest.approx(0, abs=0.03)
        assert of_row["std"] == pytest.approx(1, abs=0.03)
        assert report.rows[2].numbers.statistics["nan"] == pytest.approx(report.rows[2].numbers.read / 2, rel=0.15)
        assert cell(page, 3, "NaN, Inf").text.startswith("≥")

    def test_the_sample_is_checked_and_the_page_tells_what_was_not(self, dump: Path) -> None:
        report, page = made(dump, read_bytes=300_000)
        (finding,) = [finding for finding in report.checks.findings if finding.check == "nan"]
        assert (finding.tensor, finding.of) == ("activations/holed", report.rows[2].numbers.read)
        with h5py.File(dump) as file:
            assert np.isnan(file["activations/holed"][finding.index])
        assert 1000 <= (finding.example or 0) < 3000
        section = page.the("section", id="found").text
        assert "everything read before it is clean" in section
        assert "1 of 3 tensors were checked in full" in section
        assert f"the report read only {report.rows[1].numbers.read} of its 200000 values" in section

    def test_all_of_it_is_read_when_asked(self, dump: Path) -> None:
        report, page = made(dump, read_bytes=None)
        assert report.notes == ()
        assert report.rows[2].numbers.statistics["nan"] == 80_000
        assert "≈" not in page.text

    def test_the_norm_of_a_sampled_gradient_is_scaled_to_all_of_it(self, tmp_path: Path) -> None:
        values = normal(4000, 50)
        report, _ = made(write_dump(tmp_path / "g.h5", {"gradients/weights/k": (values, GRADIENT)}), read_bytes=100_000)
        assert report.rows[0].numbers.source == SAMPLED
        assert report.rows[0].scale == pytest.approx(np.linalg.norm(values.astype(np.float64)), rel=0.05)


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A dump against one in which a tensor differs, one is gone, and one is new."""
    folder = tmp_path_factory.mktemp("both")
    a, b, c = normal(10, 4), normal(10, 5, seed=1), normal(10, 6, seed=2)
    old = {"activations/a": a, "activations/b": b, "activations/gone": normal(10, 8, seed=4), "activations/c": c}
    new = {
        "activations/a": a,
        "activations/b": b * np.float32(1.01),
        "activations/c": c * 2,
        "activations/extra": normal(10, 7, seed=3),
    }
    return write_dump(folder / "old.h5", old, seed=1), write_dump(folder / "new.h5", new, seed=2)


class TestCompared:
    def test_the_first_divergence_is_on_top(self, both: tuple[Path, Path]) -> None:
        _, page = made(*both)
        section = page.the("section", id="compared")
        assert section.all("p")[0].text.startswith(
            "old.h5 and new.h5 differ: 2 of 3 tensors differ (1 missing, 1 extra)"
        )
        assert section.all("p")[1].text.startswith("First divergence: b (Dense): 50 of 50 elements, worst at")
        assert section.all("p")[1].the("a").attributes["href"] == "#t2"

    def test_the_list_marks_what_differs(self, both: tuple[Path, Path]) -> None:
        _, page = made(*both)
        rows = [page.the("tr", id=f"r{n}").attributes for n in (1, 2, 3, 4)]
        assert [row["data-differs"] for row in rows] == ["0", "1", "1", "1"]
        assert [row.get("class") for row in rows] == [None, "differs first", "differs", "differs"]
        assert [cell(page, n, "difference").text for n in (1, 2, 3, 4)] == [
            "same 0",
            "differs 0.01",
            "missing",
            "differs 1",
        ]
        assert value(page, 2, "difference") == pytest.approx(0.01, rel=1e-3)

    def test_every_failing_tensor_is_listed_also_one_that_only_the_other_has(self, both: tuple[Path, Path]) -> None:
        _, page = made(*both)
        rows = page.the("section", id="compared").the("table", class_="plain").the("tbody").all("tr")
        assert [row.the("th").text for row in rows] == ["b", "gone", "c", "extra"]
        assert not rows[3].all("a")

    def test_attributes_of_both_stand_side_by_side(self, both: tuple[Path, Path]) -> None:
        _, page = made(*both)
        rows = page.the("section", id="provenance").all("tr")
        assert [cell.text for cell in rows[0].all("th")] == ["attribute", "old.h5", "new.h5", ""]
        seed = next(row for row in rows if row.all("th")[0].text == "seed")
        assert [cell.text for cell in seed.all("td")] == ["1", "2", "differs"]

    def test_plain_arrays_are_compared_too(self, both: tuple[Path, Path], tmp_path: Path) -> None:
        np.savez(tmp_path / "x.npz", a=normal(10, 4) + 1)
        _, page = made(both[0], tmp_path / "x.npz")
        assert cell(page, 1, "difference").text.startswith("differs")
        assert [head.text for head in page.the("section", id="provenance").all("tr")[0].all("th")] == [
            "attribute",
            "value",
        ]

    def test_a_tensor_of_another_name_is_told(self, tmp_path: Path) -> None:
        """Names that Keras made up are shifted by one."""
        values = [normal(10, 4, seed=n) for n in range(2)]
        old, new = (
            write_dump(tmp_path / f"{shift}.h5", {
                f"activations/dense_{n + shift}": (v, {"structure": f"layers.{n}"}) for n, v in enumerate(values)
            })
            for shift in (1, 2)
        )  # fmt: skip
        _, page = made(old, new)
        assert "compared with activations/dense_3, paired by structure" in page.the("article", id="t2").text
        assert "addresses ignored for 2 of 2 tensors" in page.the("section", id="compared").text
        _, page = made(old, old)
        assert "compared with" not in page.the("article", id="t2").text

    def test_equal_dumps_agree(self, both: tuple[Path, Path]) -> None:
        _, page = made(both[0], both[0])
        assert page.the("section", id="compared").all("p")[0].text == "old.h5 and old.h5 agree in 4 tensors"
        assert not page.the("section", id="compared").all("tr")


def test_gradients_have_norms_along_depth_and_losses_a_curve(tmp_path: Path) -> None:
    kernels = [normal(3, 4, 5, seed=n) * np.float32(10.0**-n) for n in range(3)]
    tensors = {
        f"gradients/weights/d{n}.kernel": (k, {"axis0": "step", "norm": np.linalg.norm(k, axis=(1, 2))})
        for n, k in enumerate(kernels)
    }
    dump = write_dump(tmp_path / "g.h5", tensors, loss=np.array([4.0, 2.0, 1.0]), kind="gradients")
    with h5py.File(dump, "a") as file:
        file["loss"].attrs["axis0"] = "step"
    report, page = made(dump)
    assert [row.scale for row in report.rows] == [pytest.approx(np.linalg.norm(k[2])) for k in kernels]
    chart = page.the("section", id="depth").the("svg")
    points = [(float(c.attributes["cx"]), float(c.attributes["cy"])) for c in chart.all("circle")]
    assert points == sorted(points)  # smaller ones are further down, where y grows
    assert [c.attributes["data-row"] for c in chart.all("circle")] == ["1", "2", "3"]
    assert "norm" in columns_of(page)
    assert "norms of 3 steps" in page.the("article", id="t1").text
    loss = page.the("section", id="loss")
    assert "Loss of 3 steps: 4 … 1" in loss.text
    assert loss.the("path", class_="line").attributes["d"].count("L") == 2


@pytest.mark.parametrize("bad", [np.nan, -np.inf])
@pytest.mark.parametrize("as_statistics", [False, True])
def test_layers_without_a_finite_value_stand_at_the_edge_and_break_the_line(
    tmp_path: Path, bad: float, as_statistics: bool
) -> None:
    """Five layers: the third has no finite value, the fourth one that is not."""
    values = [normal(10, 4, seed=n) for n in range(5)]
    values[2][:] = bad
    values[3][1, 1] = bad
    tensors: dict[str, Any] = {f"activations/layer{n}": v for n, v in enumerate(values)}
    if as_statistics:
        for n, v in enumerate(values):
            gathered = ExactStatistics()
            gathered.add(v)
            tensors[f"activations/layer{n}"] = (v, statistics_attributes(gathered.result()))
    _, page = made(write_dump(tmp_path / "d.h5", tensors))
    chart = page.the("section", id="depth").the("svg")
    (cross,) = chart.all("path", class_="cross")
    assert cross.attributes["data-row"] == "3"
    assert cross.the("title").text == "layer2: no value is finite"
    assert [c.attributes["data-row"] for c in chart.all("circle")] == ["1", "2", "4", "5"]
    line = chart.the("path", class_="line").attributes["d"]
    assert (line.count("M"), line.count("L")) == (2, 2)  # layers 0 and 1, then 3 and 4
    assert "1 without a finite value, \u00d7" in chart.text
    told = page.the("section", id="depth").text
    assert "\u00d7 at the upper edge: no finite value" in told
    assert "red: tensors with NaN or Inf" in told
    assert cell(page, 3, "rms").text == "NaN"
    low = cell(page, 3, "min").text
    assert low == ("NaN" if np.isnan(bad) else "\u2212\u221e")


def test_a_single_loss_is_a_number(tmp_path: Path) -> None:
    _, page = made(write_dump(tmp_path / "g.h5", {"gradients/weights/k": (normal(3, 3), GRADIENT)}, loss=0.25))
    assert page.the("section", id="loss").text == "LossLoss 0.25"


def test_the_model_and_what_was_not_captured_are_told(tmp_path: Path) -> None:
    config = functional(("Dense", "a", {}), ("Dense", "b", {}), ("ReLU", "r", {}))
    lost = json.dumps([{"address": "rnn.cell", "reason": "it runs inside a loop"}])
    dump = write_dump(tmp_path / "a.h5", {"activations/a": normal(2, 2)}, config, not_captured=lost, examples=2)
    report, page = made(dump)
    assert report.architecture is not None
    assert report.architecture.layers == (("Dense", 2), ("ReLU", 1))
    text = page.the("section", id="provenance").text
    assert "Functional “model”, 3 layers in its configuration: 2 Dense, 1 ReLU" in text
    assert "Not captured: 1" in text
    assert "rnn.cellit runs inside a loop" in text
    assert "examples 2" in page.all("header")[0].text


def test_patterns_choose_and_the_page_says_so(tmp_path: Path) -> None:
    dump = write_dump(tmp_path / "a.h5", {f"activations/{name}": normal(2, 2) for name in ("a", "b", "c")})
    report, page = made(dump, layers=("a", "b"), exclude=("b",))
    assert [row.address for row in report.rows] == ["a"]
    assert "the page shows 1 of 3 tensors, which -l and -x select" in page.text
    with pytest.raises(SelectionError, match="matches 'z'"):
        made(dump, layers=("z",))


def test_a_dump_without_tensors_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DumpError, match="holds no tensors, so there is nothing to report"):
        made(write_dump(tmp_path / "a.h5", {}))
