"""Tables on a terminal: they fit its width, say nothing twice, tell what they leave out, and have colors."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from support.check_dumps import normal, write_dump
from support.command import Run
from support.made_dumps import Tensor, make_dump
from support.terminals import Screen, on_terminal
from tfdump.cli.aligned_table import Column, aligned
from tfdump.cli.terminal import Terminal
from tfdump.cli.text_width import lines_of, text_of_width, text_within, width

LONG = "a_layer_that_somebody_named_after_its_whole_configuration_units_16_activation_tanh_initializer_glorot_block_3"
ADD = {"class": "Add"}
SIZES = pytest.mark.parametrize("columns", [60, 80, 120])
TEXTS = st.text(st.characters(categories=["L", "N", "P", "S"], exclude_characters="\N{HORIZONTAL ELLIPSIS}"))


# --- text


@given(TEXTS)
def test_the_width_is_that_of_rich(text: str) -> None:
    """Rich counts by tables of its own; the newest characters are in one of the tables alone."""
    if all(ord(character) < 0x1100 or 0x3041 <= ord(character) < 0x9FFF for character in text):
        assert width(text) == cell_len(text)


@given(TEXTS, st.integers(4, 40))
def test_a_shortened_text_fits_and_keeps_both_ends(text: str, columns: int) -> None:
    for middle in (True, False):
        short = text_within(text, columns, "\N{HORIZONTAL ELLIPSIS}", middle)
        assert width(short) <= columns
        if width(text) <= columns:
            assert short == text
            continue
        head, tail = short.split("\N{HORIZONTAL ELLIPSIS}")
        assert text.startswith(head)
        assert text.endswith(tail)
        assert bool(tail) <= middle


def test_shortened_by_hand() -> None:
    assert text_within("encoder.layer_10.attention.query", 15, "...") == "encode....query"
    assert text_within("encoder.layer_10.attention.query", 15, "…") == "encoder…n.query"
    assert text_within("密な層の名前", 8, "…") == "密な…前"
    assert text_within("encoder.layer_10", 8, "...", middle=False) == "encod..."
    assert text_of_width("密", 4) == "密  "
    assert text_of_width("密", 4, right=True) == "  密"


@given(st.text("ab 密", max_size=60), st.integers(4, 20))
def test_wrapped_lines_fit_and_lose_blanks_alone(text: str, columns: int) -> None:
    lines = list(lines_of(text, columns))
    assert all(width(line) <= columns for line in lines)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")


# --- columns


def fitted(columns: int | None, *rows: tuple[str, ...]) -> list[str]:
    described = (Column("name", shorten="middle", prefix="activations/"), Column("dtype", 1), Column("number", 0))
    text = aligned(described, rows, (False, False, True), Terminal(columns, False, "…"), "--json")
    return text.splitlines()


def test_what_fits_is_left_alone() -> None:
    rows = [("activations/conv", "float32", "1"), ("outputs/y", "float32", "22")]
    expected = [
        "name              dtype    number",
        "activations/conv  float32       1",
        "outputs/y         float32      22",
    ]
    assert fitted(None, *rows) == fitted(33, *rows) == expected


def test_the_group_goes_before_a_column_does() -> None:
    rows = [("activations/conv", "float32", "1"), ("outputs/y", "float32", "22")]
    assert fitted(32, *rows)[1] == "conv       float32       1"


def test_a_column_that_is_the_same_in_every_row_goes_first() -> None:
    rows = [("a" * 20, "float32", "1"), ("b" * 20, "float32", "2")]
    lines = fitted(30, *rows)
    assert lines[:2] == ["name                  number", "aaaaaaaaaaaaaaaaaaaa       1"]
    assert " ".join(lines[3:]) == "(in every row: dtype float32; all of it: --json)"


def test_no_name_is_shortened_for_a_column_that_says_nothing() -> None:
    rows = [("a" * 40, "float32", "1"), ("b" * 40, "float32", "2")]
    assert fitted(49, *rows)[1] == "a" * 40 + "       1"


def test_then_the_least_important_one_and_then_the_middle_of_names() -> None:
    rows = [("a" * 20 + "x" * 20, "float32", "1"), ("b" * 20 + "x" * 20, "int8", "2")]
    lines = fitted(36, *rows)
    assert lines[0].split() == ["name", "dtype"]
    assert lines[1] == "aaaaaaaaaaaaa…xxxxxxxxxxxxx  float32"
    assert " ".join(lines[3:]) == "(left out: number; shortened: name; all of it: --json)"


def test_names_that_would_look_alike_get_more_room() -> None:
    rows = [("x" * 15 + str(n) + "y" * 24, f"{n}" * 12, "1") for n in range(3)]
    lines = fitted(50, *rows)
    assert len({line.split()[0] for line in lines[1:4]}) == 3


# --- commands


@pytest.fixture
def dumps(tmp_path: Path) -> Path:
    """`d.h5` and `n.h5`, names that are long, wide or both, of which every other one differs; `bad.h5` has findings."""
    names = [
        "conv",
        "密な層",
        f"block.{LONG}.query",
        f"block.{LONG}.key",
        *(f"encoder.layer_{n}.norm" for n in range(8)),
    ]
    rng = np.random.default_rng(0)
    old = {name: rng.normal(size=(4, 3, 5)).astype("float32") for name in names}
    new = {name: values + (n % 2) for n, (name, values) in enumerate(old.items())}
    bad = {
        f"activations/{name}": np.where(np.arange(60) < n, np.nan, 1e-9).reshape(20, 3) for n, name in enumerate(names)
    }
    bad[f"activations/{LONG}.relu"] = np.zeros((20, 40), "float32")
    write_dump(tmp_path / "bad.h5", bad)
    layer = {"class": "BatchNormalization"}
    config = {"command": "tfdump activations model.keras input.npy " + "-l 'encoder*' " * 9}
    make_dump(tmp_path / "d.h5", {name: Tensor(values, **layer) for name, values in old.items()}, **config)
    make_dump(
        tmp_path / "n.h5", {name: Tensor(values, **layer) for name, values in new.items()} | {"more": old["conv"]}
    )
    return tmp_path


@SIZES
@pytest.mark.parametrize(
    "arguments",
    [
        ("show", "d.h5"),
        ("show", "d.h5", "--stats"),
        ("show", "d.h5", "--provenance"),
        ("show", "d.h5", "密な層"),
        ("diff", "d.h5", "n.h5", "-q"),
        ("diff", "d.h5", "n.h5", "--all", "--min-cosine", "0.99"),
        ("diff", "d.h5", "n.h5", "--all", "--min-sqnr", "20"),
        ("ranges", "d.h5", "n.h5"),
        ("check", "bad.h5", "--fail-on", "all", "-q"),
        ("check", "bad.h5", "--all", "-q"),
    ],
    ids=" ".join,
)
def test_no_line_is_longer_than_the_terminal(dumps: Path, arguments: tuple[str, ...], columns: int) -> None:
    screen = on_terminal(*arguments, cwd=dumps, columns=columns, stderr=False)
    assert screen.returncode in (0, 1), screen.stderr
    assert 30 < screen.widest() <= columns, screen.plain
    assert "\t" not in screen.written


def test_what_is_left_out_is_said_below_with_how_to_see_it(dumps: Path) -> None:
    text = " ".join(on_terminal("show", "d.h5", "--stats", cwd=dumps).plain.split())
    assert "(left out: shape" not in text  # the same in every row is told with its value
    assert "in every row: class BatchNormalization, shape (4, 3, 5), dtype float32" in text
    assert "shortened: tensor; all of it: --json, or a pipe)" in text


def test_a_pipe_gets_every_column_of_every_row_in_full(tfdump: Run, dumps: Path) -> None:
    header, *rows = [line.split("\t") for line in tfdump("show", "d.h5", "--stats").stdout.splitlines()]
    assert header == ["tensor", "class", "shape", "dtype", "min", "max", "mean", "std", "l2", "nan", "inf", "zero"]
    assert f"activations/block.{LONG}.query" in [row[0] for row in rows]
    assert all(len(row) == len(header) for row in rows)
    table = tfdump("diff", "d.h5", "n.h5", "--format", "table").stdout
    (line,) = [line for line in table.splitlines() if f"{LONG}.key " in line]
    assert line.split()[:4] == [f"activations/block.{LONG}.key", "-", "BatchNormalization", "differs"]


def test_wide_characters_take_two_columns(dumps: Path) -> None:
    lines = on_terminal("show", "d.h5", cwd=dumps, columns=200).lines
    starts = {cell_len(line[: line.index("BatchNormalization")]) for line in lines if "BatchNormalization" in line}
    assert len(starts) == 1


def test_where_the_encoding_has_no_ellipsis_there_are_three_dots(dumps: Path) -> None:
    screen = on_terminal("show", "d.h5", cwd=dumps, PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert "..." in screen.written
    assert "\N{HORIZONTAL ELLIPSIS}" not in screen.written
    assert screen.widest() <= 80


def styles_of(screen: Screen, word: str) -> str:
    """The code before a word."""
    before, _, _ = screen.written.partition(word)
    return before.rpartition("\x1b[")[2] if before.endswith("m") else ""


def test_headers_are_bold_and_verdicts_have_colors(dumps: Path) -> None:
    screen = on_terminal("diff", "d.h5", "n.h5", "--all", cwd=dumps, columns=200)
    assert styles_of(screen, "tensor") == "1m"
    assert (styles_of(screen, "differs"), styles_of(screen, "same")) == ("31m", "32m")


@pytest.mark.parametrize(("term", "environment"), [("xterm", {"NO_COLOR": "1"}), ("dumb", {}), (None, {})])
def test_no_escape_code_where_none_is_wanted(dumps: Path, term: str | None, environment: dict[str, str]) -> None:
    for arguments in (("diff", "-q", "d.h5", "n.h5"), ("check", "-q", "d.h5"), ("show", "-q", "d.h5")):  # without a bar
        assert "\x1b" not in on_terminal(*arguments, cwd=dumps, term=term, **environment).written


def test_no_color_that_is_empty_counts_for_nothing(dumps: Path) -> None:
    assert "\x1b[1m" in on_terminal("show", "d.h5", cwd=dumps, NO_COLOR="").written


def test_a_table_in_a_pipe_has_no_color_and_no_end_of_lines(tfdump: Run, dumps: Path) -> None:
    done = tfdump("diff", "d.h5", "n.h5", "--format", "table", env={"TERM": "xterm"})
    assert "\x1b" not in done.stdout
    assert max(map(len, done.stdout.splitlines())) > 200


# --- check


@pytest.fixture
def nan(tmp_path: Path) -> Path:
    """`nan.h5`: NaN from the second of five layers on, and a dead unit in the first."""
    relu, bad = np.maximum(normal(20, 3), 0), normal(20, 3, seed=1)
    relu[:, 1] = 0
    bad[17, 2] = np.nan
    tensors = {"activations/relu": (relu, {"class": "ReLU"}), "activations/bad": (bad, ADD)}
    tensors |= {f"activations/behind_{n}": (np.full((20, 3), np.nan, "float32"), ADD) for n in range(3)}
    write_dump(tmp_path / "nan.h5", tensors)
    return tmp_path


def test_check_says_verdict_and_origin_first_and_what_follows_in_one_line(nan: Path) -> None:
    screen = on_terminal("check", "nan.h5", cwd=nan)
    assert screen.returncode == 1
    verdict, origin, header, *rows, behind = screen.lines
    assert verdict == "nan.h5 fails: 5 findings, 4 of --fail-on nan,inf in 5 of 5 tensors"
    assert origin == "NaN first appears in 'bad' (example 17); everything before it is clean"
    assert header.split() == ["check", "tensor", "count", "of", "example", "index", "message"]
    assert [row.split() for row in rows] == [
        ["nan", "bad", "1", "60", "17", "17,2"],
        ["dead", "relu", "1", "3", "-", "-", "unit", "1"],
    ]
    assert behind == "3 more have NaN after it: behind_0, behind_1, behind_2 (--all lists them)"
    assert (styles_of(screen, "nan "), styles_of(screen, "dead")) == ("", "33m")


def test_check_says_what_follows_from_several_origins(tmp_path: Path) -> None:
    bad = np.full((20, 3), np.nan, "float32")
    reads = {"a": '["inputs/x"]', "b": '["inputs/x"]', "c": '["a", "b"]', "d": '["c"]'}
    tensors = {f"activations/{name}": (bad, ADD | {"inputs": read}) for name, read in reads.items()}
    write_dump(tmp_path / "two.h5", {"inputs/x": normal(20, 3)} | tensors)
    screen = on_terminal("check", "two.h5", cwd=tmp_path)
    assert [line.split(",")[0] for line in screen.lines[1:3]] == [
        "NaN starts in 'a' (Add)",
        "NaN starts in 'b' (Add)",
    ]
    assert screen.lines[-1] == "2 more have NaN after them: c, d (--all lists them)"


def test_check_all_lists_every_tensor(nan: Path) -> None:
    screen = on_terminal("check", "nan.h5", "--all", cwd=nan)
    assert [line.split()[:2] for line in screen.lines[3:]] == [
        ["nan", "bad"], ["nan", "behind_0"], ["nan", "behind_1"], ["nan", "behind_2"], ["dead", "relu"],
    ]  # fmt: skip


def test_check_in_a_pipe_is_the_same_with_and_without_all(tfdump: Run, nan: Path) -> None:
    plain = tfdump("check", "nan.h5")
    assert len(plain.stdout.splitlines()) == 6
    every = tfdump("check", "nan.h5", "--all")
    assert (every.stdout, every.stderr, every.returncode) == (plain.stdout, plain.stderr, 1)
    assert plain.stderr.splitlines()[-1].startswith("NaN first appears in 'bad'")


def test_a_dump_that_passes_is_one_line(tmp_path: Path) -> None:
    write_dump(tmp_path / "ok.h5", {"activations/a": (normal(20, 3), ADD)})
    screen = on_terminal("check", "ok.h5", cwd=tmp_path)
    assert screen.lines == ["ok.h5 passes: 0 findings in 1 of 1 tensors"]
    assert on_terminal("check", "-q", "ok.h5", cwd=tmp_path).written == ""


def test_checks_that_cannot_be_made_name_their_tensors_once(tfdump: Run, tmp_path: Path) -> None:
    tensors = {f"activations/d{n}": (np.abs(normal(4, 3, seed=n)), {"class": "Dense"}) for n in range(5)}
    write_dump(tmp_path / "d.h5", tensors)
    first, second, _ = tfdump("check", "d.h5").stderr.splitlines()
    assert first.endswith("dead of 5 tensors (activations/d0, activations/d1, activations/d2, ...)")
    assert second.endswith("saturated of 5 of these tensors")


# --- diff and show


def test_a_series_of_one_tensor_names_it_once(tmp_path: Path) -> None:
    for epoch in range(3):
        values = np.random.default_rng(epoch).normal(size=(4, 3))
        made = {"interval": "epoch", "epoch": epoch + 1, "batch": 0}
        make_dump(tmp_path / f"epoch-000{epoch + 1}.activations.h5", {f"block.{LONG}": values}, **made)
    screen = on_terminal("show", ".", f"block.{LONG}", cwd=tmp_path)
    assert screen.returncode == 0, screen.plain
    assert screen.widest() <= 80
    header = screen.lines[0].split()
    assert header[0] == "dump"
    assert {"min", "max", "mean"} <= set(header)
    assert f"tensor block.{LONG}"[:60] in " ".join(screen.plain.split())


def test_diff_shows_the_cosine_that_was_asked_for(tfdump: Run, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    old, new = rng.normal(size=(2, 4, 3))
    make_dump(tmp_path / "a.h5", {"same": old, "other": old})
    make_dump(tmp_path / "b.h5", {"same": old, "other": new})
    by_hand = float((old * new).sum() / np.sqrt((old**2).sum() * (new**2).sum()))
    arguments = ("diff", "a.h5", "b.h5", "--min-cosine", "0.9", "--all")
    header, same, other = [line.split("\t") for line in tfdump(*arguments).stdout.splitlines()]
    assert header[-1] == "cosine"
    assert float(same[-1]) == pytest.approx(1)
    assert float(other[-1]) == pytest.approx(by_hand)
    screen = on_terminal(*arguments, cwd=tmp_path, columns=120)
    assert "cosine" in screen.lines[0].split()
    assert f"{by_hand:.9g}" in screen.plain
    assert "cosine" not in tfdump("diff", "a.h5", "b.h5", "--all").stdout.splitlines()[0]


def test_diff_shows_what_quantization_has_cost_where_a_side_is_quantized(tmp_path: Path) -> None:
    x = normal(4, 30)
    q = np.rint(x / 0.05).astype("i1")
    make_dump(tmp_path / "a.h5", {"same": x})
    make_dump(tmp_path / "b.h5", {"same": Tensor(q, scale=0.05)})
    told = ("sqnr", "steps")
    for arguments, shown in (
        (("a.h5", "b.h5"), told),
        (("a.h5", "a.h5", "--min-sqnr", "3", "--all"), told[:1]),
        (("a.h5", "a.h5", "--all"), ()),
    ):
        header = on_terminal("diff", *arguments, cwd=tmp_path, columns=200, stderr=False).lines[0].split()
        assert tuple(name for name in told if name in header) == shown
    screen = on_terminal("ranges", "a.h5", "b.h5", cwd=tmp_path, columns=200, stderr=False)
    header, row = (line.split("  ") for line in screen.lines[:2])
    cells = dict(zip(*([cell.strip() for cell in line if cell.strip()] for line in (header, row)), strict=True))
    exact = x.astype("f8") - q * 0.05
    assert float(cells["sqnr"]) == pytest.approx(
        10 * np.log10((x.astype("f8") ** 2).sum() / (exact**2).sum()), abs=0.06
    )
    assert "keep in float" not in cells


def test_show_begins_with_the_tensors_and_mentions_stats(dumps: Path) -> None:
    lines = on_terminal("show", "d.h5", cwd=dumps, columns=200).lines
    assert lines[0].split()[:2] == ["tensor", "class"]
    assert lines.index("") < next(n for n, line in enumerate(lines) if line.startswith("attribute"))
    assert "--stats" in lines[-1]
    assert "--stats" not in "".join(on_terminal("show", "d.h5", "--stats", cwd=dumps, columns=200).lines)


# --- the verdict of diff


def differing(folder: Path) -> None:
    """Two dumps with long names, one tensor of which is missing in the second."""
    rows = np.arange(12, dtype="float32").reshape(3, 4)
    tensors = {f"encoder.layer_{number}.output_dense": rows + number for number in range(4)}
    make_dump(folder / "golden_of_the_release_before.h5", tensors)
    changed = {name: values * 2 for name, values in list(tensors.items())[:3]}
    make_dump(folder / "new_of_the_pull_request.h5", changed)


VERDICT = ("diff", "golden_of_the_release_before.h5", "new_of_the_pull_request.h5", "--ignore", "*3*")


@SIZES
def test_the_verdict_of_diff_is_broken_between_its_clauses_on_a_terminal(tmp_path: Path, columns: int) -> None:
    differing(tmp_path)
    screen = on_terminal(*VERDICT, cwd=tmp_path, columns=columns)
    assert screen.returncode == 1
    assert screen.widest() <= columns
    start = next(number for number, line in enumerate(screen.lines) if line.startswith("golden_of_the"))
    verdict = screen.lines[start:]
    clauses = [line.strip() for line in verdict if line.startswith("  ")]
    assert clauses[0].startswith("3 of 3 tensors differ")
    assert any(clause.startswith("first diverging layer: encoder.layer_0.output_dense") for clause in clauses)
    assert any(clause.startswith("all pass with --scale") for clause in clauses)
    piped = on_terminal(*VERDICT, cwd=tmp_path, columns=columns, stderr=False)
    (line,) = piped.stderr.splitlines()
    assert "; first diverging layer: " in line
    assert line.replace(";", "").split() == " ".join(verdict).split()


def test_a_verdict_that_fits_stays_one_line(tmp_path: Path) -> None:
    differing(tmp_path)
    (tmp_path / "a.h5").write_bytes((tmp_path / "golden_of_the_release_before.h5").read_bytes())
    screen = on_terminal("diff", "a.h5", "a.h5", cwd=tmp_path)
    assert screen.lines == ["a.h5 and a.h5 agree in 4 tensors"]
