"""The README tells the truth: every command in it runs, and every command and option of the tool is documented."""

import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from support.command import ROOT, SAMPLES, Run
from tfdump.cli.main import COMMANDS

README = (ROOT / "README.md").read_text()
SAMPLES_README = (SAMPLES / "README.md").read_text()


def commands_of(text: str) -> list[str]:
    """The indented lines that run tfdump, or the script that exports a model for it."""
    lines = [line[4:].removeprefix("$ ") for line in text.splitlines() if line.startswith("    ")]
    return [line for line in lines if re.search(r"(^|\(|\| )tfdump |^python sample_models/export", line)]


def chapters_of(text: str) -> dict[str, list[str]]:
    """The commands of every chapter that has some, in order."""
    chapters = re.split(r"^##? ", text, flags=re.MULTILINE)[1:]
    return {chapter.splitlines()[0]: commands for chapter in chapters if (commands := commands_of(chapter))}


CHAPTERS = {**chapters_of(README), **{f"samples: {name}": c for name, c in chapters_of(SAMPLES_README).items()}}


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that looks like the checkout, with tfdump on the PATH."""
    folder = tmp_path_factory.mktemp("readme")
    shutil.copytree(SAMPLES, folder / "sample_models")
    (folder / "bin").mkdir()
    for name, options in (("tfdump", "-m tfdump"), ("python", "")):
        script = folder / "bin" / name
        script.write_text(f'#!/bin/sh\nexec "{sys.executable}" {options} "$@"\n')
        script.chmod(0o755)
    return folder


@pytest.mark.tensorflow
@pytest.mark.parametrize("chapter", CHAPTERS)
def test_the_commands_of_a_chapter_run_one_after_the_other(
    checkout: Path, tmp_path: Path, chapter: str, tfdump: Run
) -> None:
    """As a reader runs them, in one folder: no command may stand in the way of the next.

    What needs a shell gets one; the others run in this process, which saves the import of TensorFlow.
    """
    (tmp_path / "sample_models").symlink_to(checkout / "sample_models")
    path = f"{checkout / 'bin'}:/usr/bin:/bin"
    for command in CHAPTERS[chapter]:
        shell = ["bash", "-c", f"set -euo pipefail\n{command}"]
        if re.fullmatch(r"tfdump [^|<>$;&]*", command):
            done = tfdump(*shlex.split(command)[1:])
        else:
            done = subprocess.run(shell, cwd=tmp_path, env={"PATH": path}, capture_output=True, text=True)
        assert done.returncode == 0, f"{command}\n{done.stderr}"
        assert done.stdout or command.startswith("python"), command


@pytest.mark.tensorflow
def test_the_python_of_the_readme_runs(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import keras

    import tfdump

    monkeypatch.chdir(checkout)
    model = keras.models.load_model(SAMPLES / "digits_cnn.keras")
    x = np.load(SAMPLES / "digits.npy")
    tfdump_run = [sys.executable, "-m", "tfdump", "activations", "-f"]
    subprocess.run([*tfdump_run, SAMPLES / "digits_cnn.keras", SAMPLES / "digits.npy"], check=True, capture_output=True)
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    names = {"model": model, "x": x, "y": np.load(SAMPLES / "digits_labels.npy"), "tfdump": tfdump}
    exec(code, names)
    assert set(names["acts"]) == {"conv1", "conv2"}
    assert names["grads"]["inputs/image"].shape == x.shape
    assert sorted(path.name for path in Path("run").iterdir()) == ["epoch-0002.gradients.h5", "epoch-0004.gradients.h5"]


def test_there_are_commands_to_run() -> None:
    assert sum(map(len, CHAPTERS.values())) == len(commands_of(README)) + len(commands_of(SAMPLES_README)) >= 15


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_mentioned(name: str) -> None:
    assert f"tfdump {name}" in README


def test_links_lead_somewhere() -> None:
    for folder, text in ((ROOT, README), (SAMPLES, SAMPLES_README)):
        for target in re.findall(r"\]\(([^)#]+)\)", text):
            assert target.startswith("https://") or (folder / target).exists(), target


@pytest.mark.parametrize("path", sorted([*ROOT.glob("*.md"), *SAMPLES.glob("*.md")]), ids=lambda path: path.name)
def test_no_document_has_a_place_that_waits_for_words(path: Path) -> None:
    assert re.findall(r"\b(FIGURES?|NUMBERS?|TODO|TBD|FIXME|XXX+|LOREM)\b(?![^`\n]*`)", path.read_text()) == []


def test_outside_of_the_repository_no_link_is_dead() -> None:
    """The page of a package index knows no files beside it: what is linked says where it is, and is there."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    tables = project["tool"]["hatch"]
    (substitution,) = tables["metadata"]["hooks"]["fancy-pypi-readme"]["substitutions"]
    shown = re.sub(substitution["pattern"], substitution["replacement"], README)
    assert "SECURITY (`SECURITY.md` in the source archive)" in shown
    assert all(target.startswith(("https://", "#")) for target in re.findall(r"\]\(([^)]+)\)", shown))
    archive = tables["build"]["targets"]["sdist"]["include"]
    for target in re.findall(r"\(`([^`]+)` in the source archive\)", shown):
        assert Path(target).parts[0] in archive
        assert (ROOT / target).exists()
    assert len(shown) > len(README)


def test_the_changelog_names_this_version() -> None:
    version = import_module("tfdump").__version__
    assert f"## {version}" in (ROOT / "CHANGELOG.md").read_text()


RECORD, CHECK, PORT = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)


def script(checkout: Path, folder: Path, text: str) -> subprocess.CompletedProcess[str]:
    """Run a recipe as it stands in the README."""
    path = f"{checkout / 'bin'}:/usr/bin:/bin"
    return subprocess.run(["sh", "-e", "-c", text], cwd=folder, env={"PATH": path}, capture_output=True, text=True)


@pytest.mark.tensorflow
def test_the_golden_test_fails_with_the_layer_that_was_changed(checkout: Path, tmp_path: Path) -> None:
    import keras

    shutil.copytree(SAMPLES, tmp_path / "sample_models")
    recorded = script(checkout, tmp_path, RECORD)
    assert recorded.returncode == 0, recorded.stderr
    assert (tmp_path / "digits.golden.h5").stat().st_size < 200_000
    passed = script(checkout, tmp_path, CHECK)
    assert passed.returncode == 0, passed.stderr
    assert passed.stdout.endswith("deployed\n")
    model = keras.models.load_model(tmp_path / "sample_models" / "digits_cnn.keras")
    kernel = model.get_layer("conv2").kernel
    kernel.assign(kernel * 1.01)
    model.save(tmp_path / "sample_models" / "digits_cnn.keras")
    failed = script(checkout, tmp_path, CHECK)
    assert failed.returncode == 1
    assert "deployed" not in failed.stdout
    assert "first diverging layer: conv2 (Conv2D): by its statistics" in failed.stderr


@pytest.mark.tensorflow
def test_the_port_is_compared_layer_by_layer(checkout: Path, tmp_path: Path) -> None:
    (tmp_path / "sample_models").symlink_to(checkout / "sample_models")
    done = script(checkout, tmp_path, PORT)
    assert done.returncode == 0, done.stderr
    assert len(re.findall(r"^activations/(logits|predictions|relu1)\t.*\tsame\t", done.stdout, re.MULTILINE)) == 6
    assert done.stderr.count("agree in 9 tensors (5 missing)") == 2


@pytest.mark.tensorflow
def test_the_demo_runs(checkout: Path) -> None:
    path = f"{checkout / 'bin'}:/usr/bin:/bin"
    done = subprocess.run(
        ["sh", "sample_models/demo.sh"], cwd=checkout, env={"PATH": path}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert len(list((checkout / "demo-output").glob("*.h5"))) == 7
