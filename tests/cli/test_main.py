"""The top level: help without TensorFlow, versions, commands that do not exist, completion."""

import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

import tfdump as package
from support.command import SAMPLES, Run
from support.dumps import write_dump
from tfdump.cli.main import COMMANDS, cli


def imported_by(code: str) -> set[str]:
    script = f"import sys\n{code}\nprint(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return {name.partition(".")[0] for name in done.stderr.split()}


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], *([name, "--help"] for name in COMMANDS)])
def test_help_imports_neither_tensorflow_nor_h5py_readers_of_models(arguments: list[str]) -> None:
    modules = imported_by(f"from tfdump.cli.main import run\nassert run({arguments!r}) == 0")
    assert not modules & {"tensorflow", "keras", "matplotlib", "rich"}


def test_this_test_can_fail() -> None:
    assert "rich" in imported_by("import rich.progress")


def test_importing_the_package_is_light() -> None:
    assert not imported_by("import tfdump\ntfdump.TfdumpError") & {"tensorflow", "keras", "numpy", "h5py", "click"}


@pytest.mark.parametrize("name", COMMANDS)
def test_the_table_of_commands_tells_the_truth(name: str) -> None:
    command = cli.get_command(click.Context(cli), name)
    assert command.get_short_help_str(limit=100) == COMMANDS[name]
    assert command.name == name


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_has_help(name: str) -> None:
    for parameter in cli.get_command(click.Context(cli), name).params:
        assert parameter.param_type_name == "argument" or parameter.help, parameter.name


def test_version_and_unknown_command(tfdump: Run) -> None:
    assert tfdump("--version").stdout == f"tfdump {package.__version__}\n"
    done = tfdump("activation")
    assert done.returncode == 2
    assert done.stderr == "Error: no command 'activation'; near: 'activations' (see: tfdump --help)\n"


@pytest.mark.tensorflow
def test_quiet_may_stand_before_the_command(tfdump: Run) -> None:
    model = SAMPLES / "text_gru.keras"
    assert "Note: not captured" in tfdump("layers", model).stderr
    assert tfdump("-q", "layers", model).stderr == ""
    assert tfdump("layers", "-q", model).stderr == ""


def test_no_command_prints_the_help_and_fails(tfdump: Run) -> None:
    done = tfdump()
    assert done.returncode == 2
    assert "Commands:" in done.stderr


def test_the_shell_can_complete_commands_and_options(tfdump_process: Run) -> None:
    def completions(words: str, cword: int) -> str:
        env = {**os.environ, "_TFDUMP_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(cword)}
        return tfdump_process(env=env).stdout

    assert "activations" in completions("tfdump act", 1)
    assert "--batch-size" in completions("tfdump activations --batch", 2)


def test_the_shell_can_complete_addresses_inside_a_dump(tfdump_process: Run, tmp_path: Path) -> None:
    def completions(*words: str) -> list[str]:
        env = os.environ | {"_TFDUMP_COMPLETE": "zsh_complete", "COMP_WORDS": " ".join(words)}
        done = tfdump_process(env=env | {"COMP_CWORD": str(len(words) - 1)})
        assert done.stderr == ""
        return [text for text in done.stdout.split("\n")[1::3] if text]

    write_dump(tmp_path / "d.h5")
    (tmp_path / "text.h5").write_text("no dump")
    assert completions("tfdump", "show", "d.h5", "de") == ["dense", "deep"]
    assert completions("tfdump", "show", "d.h5", "dense", "dee") == ["deep"]
    assert completions("tfdump", "cat", "d.h5", "outputs/") == ["outputs/dense", "outputs/logits"]
    assert completions("tfdump", "plot", "d.h5", "activations/conv") == ["activations/conv"]
    for missing in ("nope.h5", "text.h5", ".", "model.keras"):
        assert completions("tfdump", "show", missing, "d") == []


def test_every_name_of_the_api_resolves() -> None:
    from tfdump import errors
    from tfdump.dump.reader import open_dump

    assert package.TfdumpError is errors.TfdumpError
    assert set(package.__all__) <= set(dir(package))
    assert package.open is open_dump
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = package.no_such_name


@pytest.mark.parametrize("name", [[], ["show"], ["activations"]])
def test_help_is_a_command_too(tfdump: Run, name: list[str]) -> None:
    asked, expected = tfdump("help", *name), tfdump(*name, "--help")
    assert (asked.returncode, asked.stdout, asked.stderr) == (0, expected.stdout, "")
    assert "Usage: tfdump" in asked.stdout


def test_help_on_a_command_that_does_not_exist(tfdump: Run) -> None:
    done = tfdump("help", "shwo")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "Error: no command 'shwo'; near: 'show' (see: tfdump --help)\n"


def test_words_behind_the_command_that_is_asked_about(tfdump: Run) -> None:
    for words in (["help", "show", "cat"], ["help", "show", "--stats"]):
        assert tfdump(*words).stdout == tfdump("show", "--help").stdout
    assert tfdump("help", "help").stdout == tfdump("--help").stdout


def test_a_star_import_leaves_the_builtin_open() -> None:
    names: dict[str, object] = {}
    exec("from tfdump import *\nopened = open", names)
    assert names["opened"] is open
    assert "activations" in names


def test_help_on_the_package_is_quiet() -> None:
    """pydoc asks for every name, and so imports what needs TensorFlow."""
    script = "import pydoc, tfdump; print(pydoc.render_doc(tfdump))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert "DumpCallback" in done.stdout
