"""What a terminal shows while a command works, and what is left of it: nothing."""

import os
import re
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from support.command import SAMPLES
from support.forked import forked_python
from support.made_dumps import make_dump
from support.terminals import CODES, on_terminal

WINE = (SAMPLES / "wine_mlp.keras", SAMPLES / "wine.npy")
LABELS = SAMPLES / "wine_labels.npy"


def stages_of(written: str) -> list[str]:
    """The texts of the status line, in order, each once."""
    plain = CODES.sub("", written)
    known = (
        r"Starting TensorFlow|Loading [\w.]+|Tracing the model|Looking at the first batches|Counting \D*\d+ examples"
    )
    return list(dict.fromkeys(re.findall(known, plain)))


# --- stages


@pytest.mark.tensorflow
def test_every_stage_is_said_and_nothing_of_it_is_left(tmp_path: Path) -> None:
    screen = on_terminal("activations", *WINE, "-o", "a dump.h5", cwd=tmp_path)
    assert screen.returncode == 0
    assert stages_of(screen.written) == [
        "Starting TensorFlow", "Loading wine_mlp.keras", "Tracing the model", "Looking at the first batches",
    ]  # fmt: skip
    assert screen.lines == ["a dump.h5", "Next: tfdump show 'a dump.h5', or tfdump check 'a dump.h5'"]
    assert screen.written.rindex("\x1b[?25h") > screen.written.rindex("\x1b[?25l")  # the cursor is there again


@pytest.mark.tensorflow
def test_counting_the_divisor_of_a_masked_loss_is_a_stage(tmp_path: Path) -> None:
    x = keras.Input((5,), dtype="int32", name="x")
    hidden = keras.layers.Embedding(7, 3, mask_zero=True, name="e")(x)
    model = keras.Model(x, keras.layers.Dense(2, name="out")(hidden))
    model.compile(loss="mse")
    model.save(tmp_path / "m.keras")
    np.save(tmp_path / "x.npy", np.tile(np.array([1, 2, 0, 0, 0], "int32"), (6, 1)))
    np.save(tmp_path / "y.npy", np.ones((6, 5, 2), "float32"))
    screen = on_terminal("gradients", "m.keras", "x.npy", "y.npy", cwd=tmp_path)
    assert screen.returncode == 0, screen.plain
    assert "Counting the divisor of the loss over 6 examples" in stages_of(screen.written)


@pytest.mark.tensorflow
def test_notes_prints_and_errors_stand_on_lines_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "loud.py").write_text(
        "import sys, keras\n"
        "@keras.saving.register_keras_serializable('loud')\n"
        "class Loud(keras.layers.Layer):\n"
        "    def call(self, x):\n"
        "        print('printed')\n"
        "        sys.stderr.write('written\\n')\n"
        "        return x / 0 if x.shape[-1] == 3 else x\n"
    )
    code = (
        "import keras, loud, numpy as np\n"
        "x = keras.Input((4,)); keras.Model(x, loud.Loud()(x)).save('m.keras'); np.save('x.npy', np.ones((3, 4)))\n"
    )
    made = subprocess.run([*forked_python(), "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
    screen = on_terminal("activations", "m.keras", "x.npy", "--import", "loud.py", cwd=tmp_path)
    assert screen.returncode == 0, screen.plain
    lines = screen.lines
    assert {"printed", "written", "m.activations.h5"} <= set(lines)
    assert any(line.startswith("Note: ") and "float32" in line for line in lines)
    assert "" not in lines
    wrong = on_terminal("activations", "m.keras", "none.npy", "--import", "loud.py", "-f", cwd=tmp_path)
    assert wrong.lines == ["Error: no such input file: none.npy"]
    np.save(tmp_path / "five.npy", np.ones((3, 5), "float32"))
    refused = on_terminal("activations", "m.keras", "five.npy", "--import", "loud.py", "-f", cwd=tmp_path)
    assert refused.returncode == 2
    assert refused.lines[-1].startswith("Error: ")


@pytest.mark.tensorflow
def test_a_dumb_terminal_gets_no_code_and_no_empty_line(tmp_path: Path) -> None:
    screen = on_terminal("gradients", *WINE, LABELS, "--batch-size", "1", "-o", "d.h5", cwd=tmp_path, term="dumb")
    assert screen.written == "d.h5\nNext: tfdump show d.h5, or tfdump check d.h5\n"


@pytest.mark.tensorflow
def test_quiet_is_quiet_and_verbose_keeps_the_stages(tmp_path: Path) -> None:
    assert on_terminal("activations", *WINE, "-q", cwd=tmp_path).written == "wine_mlp.activations.h5\n"
    lines = on_terminal("layers", WINE[0], "-v", cwd=tmp_path).lines
    assert {"Starting TensorFlow ...", "Loading wine_mlp.keras ...", "Tracing the model ..."} <= set(lines)


@pytest.mark.tensorflow
@pytest.mark.parametrize("streams", [{"stdout": False}, {"stderr": False}, {"stdout": False, "stderr": False}])
def test_pipes_stay_as_they_are(tmp_path: Path, streams: dict[str, bool]) -> None:
    screen = on_terminal("activations", *WINE, cwd=tmp_path, **streams)
    assert screen.returncode == 0
    assert screen.stderr == ""
    assert "Next:" not in screen.plain
    path = screen.plain if streams.get("stdout", True) else screen.stdout
    assert path.endswith("wine_mlp.activations.h5\n")


def test_a_pipe_never_imports_rich(tmp_path: Path) -> None:
    make_dump(tmp_path / "d.h5", {"a": np.ones((4, 3), "float32")})
    code = (
        "import sys; from tfdump.cli.main import run\n"
        "for words in (['show'], ['show', '--stats'], ['check'], ['diff', 'd.h5'], ['cat', 'a', '--format', 'csv']):\n"
        "    assert run([words[0], 'd.h5', *words[1:]]) == 0\n"
        "sys.exit('rich' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True).returncode == 0


@pytest.mark.tensorflow
def test_a_child_that_is_killed_leaves_no_half_line_and_a_cursor(tmp_path: Path) -> None:
    (tmp_path / "killer.py").write_text(
        "import os, signal, time\ntime.sleep(0.3)\nos.kill(os.getpid(), signal.SIGKILL)\n"
    )
    screen = on_terminal("activations", *WINE, "--import", "killer.py", cwd=tmp_path)
    assert screen.returncode == 137
    assert screen.lines[-1].startswith("Error: ended by SIGKILL")
    assert screen.written.rindex("\x1b[?25h") > screen.written.rindex("\x1b[?25l")


@pytest.mark.tensorflow
@pytest.mark.parametrize(
    ("output", "words"),
    [
        ("it's.h5", """tfdump show 'it'"'"'s.h5'"""),
        ("a;b.h5", "tfdump show 'a;b.h5'"),
        ("-x.h5", "tfdump show ./-x.h5"),
    ],
)
def test_names_are_quoted_as_the_shell_needs_them(tmp_path: Path, output: str, words: str) -> None:
    screen = on_terminal("activations", *WINE, f"--output={output}", cwd=tmp_path)
    assert screen.returncode == 0, screen.plain
    assert screen.lines[-1].startswith(f"Next: {words}, or ")
    path = os.environ["PATH"]
    command = f"tfdump() {{ '{sys.executable}' -m tfdump \"$@\"; }}; {words} -q"
    done = subprocess.run(["bash", "-c", command], cwd=tmp_path, env=os.environ | {"PATH": path}, capture_output=True)
    assert done.returncode == 0, done.stderr


# --- bars of what reads dumps


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """`d.h5`: enough values to take a second, as text."""
    make_dump(tmp_path / "d.h5", {"a": np.random.default_rng(0).normal(size=(1000, 2000)), "b": np.ones((4, 3))})
    return tmp_path


def test_cat_shows_a_bar_where_it_takes_a_while(large: Path) -> None:
    screen = on_terminal("cat", "d.h5", "a", "--format", "csv", "-o", "a.csv", cwd=large)
    assert "writing" in screen.plain
    assert re.search(r"\d+%", screen.plain)
    assert screen.lines == ["a.csv"]
    whole = on_terminal("cat", "d.h5", "--all", "--format", "csv", "-o", "all", cwd=large)
    assert "writing" in whole.plain
    assert whole.lines == ["all"]


def test_cat_to_the_terminal_shows_values_alone(large: Path) -> None:
    assert (
        on_terminal("cat", "d.h5", "b", "--format", "csv", cwd=large).written == "[0],[1],[2]\n" + "1.0,1.0,1.0\n" * 4
    )


def test_what_takes_no_time_shows_no_bar(large: Path) -> None:
    for arguments in (
        ("check", "d.h5", "-l", "b"),
        ("diff", "d.h5", "d.h5", "-l", "b"),
        ("cat", "d.h5", "b", "-o", "b.npy"),
    ):
        assert "\x1b[2K" not in on_terminal(*arguments, cwd=large).written


def test_a_report_shows_what_it_does(large: Path) -> None:
    make_dump(large / "many.h5", {f"t{n}": np.random.default_rng(n).normal(size=(50, 8, 8, 4)) for n in range(12)})
    screen = on_terminal("report", "many.h5", cwd=large)
    assert "drawing" in screen.plain
    assert screen.lines[-1] == "many.report.html"
    assert on_terminal("report", "many.h5", "-f", "-q", cwd=large).written == "many.report.html\n"


@pytest.mark.tensorflow
def test_one_bar_counts_the_examples_of_all_steps(tmp_path: Path) -> None:
    step = ("--steps", 3, "--learning-rate", 0.01, "--batch-size", 16)
    screen = on_terminal("gradients", *WINE, LABELS, *step, "-o", "d.h5", cwd=tmp_path)
    assert screen.returncode == 0, screen.lines
    drawn = [(int(done), int(total)) for done, total in re.findall(r"(\d+)/(\d+)", screen.plain)]
    examples = len(np.load(WINE[1]))
    assert {total for _, total in drawn} == {3 * examples}
    assert drawn == sorted(drawn)
