"""`tfdump ranges`: its tables on terminals, TSV and JSON, its notes, and its line of trouble."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tfdump as library
from support.check_dumps import functional, write_dump
from support.command import Run
from support.terminals import on_terminal

RANDOM = np.random.default_rng(1)
TENSORS: dict[str, Any] = {
    "activations/encoder.block_1.convolution": (RANDOM.standard_t(3, (40, 6)).astype("f4"), {"class": "Conv2D"}),
    "activations/encoder.block_1.activation": (
        np.maximum(RANDOM.standard_normal((40, 6)), 0).astype("f4"), {"class": "ReLU"},
    ),
    "activations/quantized": (RANDOM.integers(-128, 128, (40, 6)).astype("i1"), {"scale": 0.1, "zero_point": -3}),
    "activations/words": np.array(["a"] * 40, dtype=object),
}  # fmt: skip


@pytest.fixture
def dump(tmp_path: Path) -> Path:
    return write_dump(tmp_path / "d.h5", TENSORS, functional(("Dense", "quantized", {})))


def rows_of(text: str) -> list[dict[str, str]]:
    header, *rows = [line.split("\t") for line in text.splitlines()]
    return [dict(zip(header, row, strict=True)) for row in rows]


def test_a_pipe_gets_everything_in_full(tfdump: Run, dump: Path) -> None:
    done = tfdump("ranges", dump)
    assert done.returncode == 0
    report = library.ranges(dump)
    rows = rows_of(done.stdout)
    assert [row["tensor"] for row in rows] == [one.tensor for one in report.ranges]
    for row, one in zip(rows, report.ranges, strict=True):
        assert (float(row["min"]), float(row["max"]), row["channel"]) == (one.min, one.max, "")
        assert [float(row[f"p{p.percent:g}"]) for p in one.percentiles] == [p.value for p in one.percentiles]
        assert one.fixed_point is not None
        assert (row["fixed point"], row["integer bits"]) == (
            one.fixed_point.type_name,
            str(one.fixed_point.integer_bits),
        )
        for way in one.integers:
            name = f"int{way.bits} {'symmetric' if way.symmetric else 'asymmetric'} {way.method}"
            assert (float(row[f"{name} scale"]), int(row[f"{name} zero point"])) == (way.scale, way.zero_point)
            assert float(row[f"{name} dB"]) == way.sqnr
        for loss in one.floats:
            assert (float(row[f"{loss.dtype} dB"]), int(row[f"{loss.dtype} overflowed"])) == (
                loss.sqnr,
                loss.overflowed,
            )
    assert done.stderr.splitlines() == [
        "Note: not measured, because it is string and has no numbers: activations/words",
        "Note: activations/quantized: its integers were dequantized by its scale and zero point",
    ]


def test_options_are_those_of_python(tfdump: Run, dump: Path) -> None:
    done = tfdump(
        *("ranges", dump, "-l", "encoder*", "-x", "type:ReLU", "--per-channel", "--show", "bits,range", "--bits", "9"),
        *("--memory", "1k"),
    )
    rows = rows_of(done.stdout)
    assert [row["channel"] for row in rows] == list("012345")
    assert {row["tensor"] for row in rows} == {"activations/encoder.block_1.convolution"}
    assert all(row["fixed point"].startswith("ap_fixed<9,") for row in rows)
    assert not [name for name in rows[0] if name.startswith(("int8", "float"))]
    assert tfdump("ranges", dump, "--depth", 1, "-q").stderr == ""
    low, high = (
        float(rows_of(tfdump("ranges", dump, "-l", "encoder*", "--show", "int8", *more).stdout)[0][name])
        for more, name in (
            ((), "int8 symmetric max scale"),
            (("--percentile", "75"), "int8 symmetric percentile scale"),
        )
    )
    values = TENSORS["activations/encoder.block_1.convolution"][0].astype("f8")
    assert low == np.abs(values).max() / 127
    assert high == np.abs(np.percentile(values, [25, 75])).max() / 127


def test_json_has_the_records_of_python(tfdump: Run, dump: Path) -> None:
    document = json.loads(tfdump("ranges", dump, "--json", "--show", "bits,int8").stdout)
    report = library.ranges(dump, show="bits,int8")
    assert (document["kind"], document["bits"], document["percentile"]) == ("ranges", 16, 99.99)
    for item, one in zip(document["items"], report.ranges, strict=True):
        assert item["tensor"] == one.tensor
        assert one.fixed_point is not None
        assert (item["fixed_point"]["type"], item["fixed_point"]["sqnr"]) == (
            one.fixed_point.type_name, one.fixed_point.sqnr,
        )  # fmt: skip
        assert [way["scale"] for way in item["integers"]] == [way.scale for way in one.integers]
    assert document["skipped"] == [{"tensor": "activations/words", "reason": "it is string and has no numbers"}]
    assert [note["tensor"] for note in document["notes"]] == ["activations/quantized"]


@pytest.mark.parametrize("columns", [80, 120])
def test_a_terminal_gets_a_summary_that_fits(dump: Path, columns: int) -> None:
    screen = on_terminal("ranges", "-q", "d.h5", cwd=dump.parent, columns=columns)
    assert screen.widest() <= columns
    header = screen.lines[0].split("  ")
    assert {"tensor", "int8 asym", "int8 best"} <= {name.strip() for name in header}
    assert ("fixed point" in screen.lines[0]) is (columns == 120)
    assert "all of it: --show, --json, or a pipe" in " ".join(screen.lines)
    best = max(way.sqnr for way in library.ranges(dump).ranges[0].integers if way.bits == 8)
    assert f" {best:.1f} " in screen.lines[1]


def test_a_terminal_gets_a_table_for_each_subject(dump: Path) -> None:
    screen = on_terminal(
        "ranges", "-q", "d.h5", "-l", "quantized", "--show", "all", "--per-channel", cwd=dump.parent, columns=80
    )
    assert screen.widest() <= 80
    text = screen.plain.replace("\r", "")
    tables = [table.splitlines() for table in text.split("\n\n")]
    assert len(tables) == 5
    assert [len([line for line in table if line.startswith("quantized")]) for table in tables] == [6, 6, 36, 36, 6]
    assert all("channel" in table[0] for table in tables)
    summary = on_terminal("ranges", "-q", "d.h5", "--per-channel", cwd=dump.parent, columns=80)
    assert summary.lines[0].split()[:2] == ["tensor", "channel"]


def test_text_alone_has_no_table(tfdump: Run, dump: Path) -> None:
    screen = on_terminal("ranges", "d.h5", "-l", "words", cwd=dump.parent)
    assert screen.lines == ["Note: not measured, because it is string and has no numbers: activations/words"]
    assert len(tfdump("ranges", dump, "-l", "words").stdout.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--show", "int4"], "show 'int4': choose from range, bits, int8, int16, float or all"),
        (["--percentile", "30"], "percentile 30.0 is not above 50 and at most 100 (for example 99.99)"),
        (["--bits", "0"], "0 is not in the range 1<=x<=128"),
        (["--memory", "x"], "'x' is not a number of bytes"),
        (["-l", "none"], "no layer matches 'none'"),
    ],
)
def test_bad_input_is_one_line(tfdump: Run, dump: Path, arguments: list[str], message: str) -> None:
    done = tfdump("ranges", dump, *arguments)
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1)
    assert message in done.stderr


def test_a_file_that_is_no_dump_is_refused(tfdump: Run, tmp_path: Path) -> None:
    (tmp_path / "d.h5").write_text("no")
    done = tfdump("ranges", "d.h5")
    assert done.returncode == 2
    assert "Error: d.h5" in done.stderr
