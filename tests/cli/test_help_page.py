"""The help of a command: options under headings, examples that run, no styles where none are shown."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest

from support.command import ROOT, SAMPLES, Run
from support.terminals import on_terminal
from tfdump.cli.help_page import GENERAL, DocumentedCommand
from tfdump.cli.main import COMMANDS, EXAMPLES, cli

HEADING = re.compile(r"^([A-Z][^:\n]*):$", re.MULTILINE)


def command_named(name: str) -> DocumentedCommand:
    command = cli.get_command(click.Context(cli), name)
    assert isinstance(command, DocumentedCommand)
    return command


def examples_in(page: str) -> list[list[str]]:
    """The command lines at the end of a page of help, as words."""
    section = page.partition("\nExamples:\n")[2].replace("\\\n", " ")
    return [shlex.split(line) for line in section.splitlines() if line.startswith("  tfdump ")]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_stands_below_a_heading(tfdump: Run, name: str) -> None:
    page = tfdump(name, "--help").stdout
    headings = HEADING.findall(page)
    assert headings[-2:] == [GENERAL, "Examples"]
    assert len(headings) == len(set(headings)) >= 3
    for option in command_named(name).params:
        if isinstance(option, click.Option):
            assert option.hidden or option.heading in headings, option.name
            lines = re.findall(rf"^  (-\w, )?{re.escape(option.opts[-1])}(?![\w-])", page, re.MULTILINE)
            assert len(lines) == (0 if option.hidden else 1), option.name


def test_the_options_of_activations_stand_where_a_user_looks(tfdump: Run) -> None:
    sections = re.split(HEADING, tfdump("activations", "--help").stdout)[1:]
    texts = dict(zip(sections[::2], sections[1::2], strict=True))
    assert list(texts) == [
        "Model", "Selection", "More tensors", "Running", "Inputs", "Data", "Images", "Sound", "Output",
        "Stored values", "Shards", "Search", "General", "Examples",
    ]  # fmt: skip
    for heading, option in (
        ("Model", "--trust-model"),
        ("Selection", "-l, --layer"),
        ("More tensors", "--attention"),
        ("Running", "--batch-size"),
        ("Inputs", "--pad-to"),
        ("Output", "-o, --output"),
        ("Stored values", "--reduce"),
    ):
        assert f"  {option} " in texts[heading], option


@pytest.mark.parametrize("columns", [40, 80, 120, 200])
@pytest.mark.parametrize("name", ["activations", "check"])
def test_help_fits_the_terminal(tmp_path: Path, name: str, columns: int) -> None:
    screen = on_terminal(name, "--help", cwd=tmp_path, columns=columns)
    prose = screen.plain.partition("\nExamples:\n")[0]
    assert max(map(len, prose.splitlines())) <= min(columns, 120)
    assert "\x1b[1mModel:\x1b[0m" in screen.written or name == "check"
    assert "\x1b[1mExamples:\x1b[0m" in screen.written


@pytest.mark.parametrize(("term", "environment"), [("xterm", {"NO_COLOR": "1"}), ("dumb", {}), (None, {})])
def test_no_styles_where_they_are_not_wanted(tmp_path: Path, term: str | None, environment: dict[str, str]) -> None:
    screen = on_terminal("show", "--help", cwd=tmp_path, term=term, **environment)
    assert screen.returncode == 0
    assert screen.written == screen.plain
    assert "\nExamples:\n" in screen.written


def test_no_styles_in_a_pipe(tfdump_process: Run) -> None:
    page = tfdump_process("show", "--help").stdout
    assert "\x1b" not in page
    assert max(map(len, page.splitlines())) <= 80


def test_only_help_imports_the_library_that_lays_it_out() -> None:
    code = "import sys; from tfdump.cli.main import run; run(sys.argv[1:]); print('cloup' in sys.modules)"
    for arguments, imported in ((["--help"], "False"), (["show", "no.h5"], "False"), (["show", "--help"], "True")):
        done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, cwd=ROOT)
        assert done.stdout.splitlines()[-1] == imported, arguments


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_has_two_or_three_examples_of_itself(tfdump: Run, name: str) -> None:
    lines = examples_in(tfdump(name, "--help").stdout)
    assert 2 <= len(lines) <= 3
    assert {line[1] for line in lines} == {name}
    assert lines == [shlex.split(line.replace("\\\n", " ")) for _, line in command_named(name).examples]


@pytest.mark.tensorflow
def test_the_examples_run_one_after_the_other(tfdump: Run, tmp_path: Path) -> None:
    """As a reader runs them in the folder of the project, from the first command to the last."""
    (tmp_path / "sample_models").symlink_to(SAMPLES)
    model, inputs = SAMPLES / "digits_cnn.keras", SAMPLES / "digits.npy"
    for name in ("golden.h5", "new.h5"):
        assert tfdump("activations", model, inputs, "-o", name).returncode == 0
    assert tfdump("activations", model, inputs, "--shards", "shards").returncode == 0
    from support.saved_formats import lite, sample

    lite(sample("digits_cnn"), tmp_path / "digits_cnn.tflite")
    assert tfdump("cat", "golden.h5", "hidden", "-o", "hidden.bin").returncode == 0
    rows = tfdump("cat", "golden.h5", "predictions", "--slice", ":4", "--format", "csv", "--no-header").stdout
    (tmp_path / "serial.log").write_text(rows)
    for name in COMMANDS:
        for line in examples_in(tfdump(name, "--help").stdout):
            done = tfdump(*line[1:])
            assert done.returncode == 0, (line, done.stderr)
            assert done.stdout or name == "diff", line


@pytest.mark.tensorflow
def test_the_examples_of_the_top_level_run(tfdump: Run, tmp_path: Path) -> None:
    (tmp_path / "sample_models").symlink_to(SAMPLES)
    lines = examples_in(tfdump("--help").stdout)
    assert len(lines) == sum(text.count("tfdump ") for _, text in EXAMPLES)
    assert tfdump(*lines[0][1:]).returncode == 0
    for name in ("golden.h5", "new.h5"):
        os.link(tmp_path / "digits_cnn.activations.h5", tmp_path / name)
    for line in lines[1:]:
        assert tfdump(*line[1:]).returncode == 0, line
