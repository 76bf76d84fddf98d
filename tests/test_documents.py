"""The documents tell the truth: their commands run, their names exist, and every command and option is in them."""

import ast
import contextlib
import importlib.util
import io
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import click
import h5py
import pytest

from support.command import ROOT, SAMPLES, Ended, Run
from support.documents import CONSOLE, PAGES, PYTHON, SHELL, Block, Line, blocks_of, lines_of
from support.forked import forked_python
from tfdump.cli.main import COMMANDS, cli

README = PAGES["README.md"]
RUN = {name: [b for b in blocks_of(text) if b.reason is None and b.language in (SHELL, CONSOLE, PYTHON)]
       for name, text in PAGES.items()}  # fmt: skip
EXPORT = "python sample_models/export.py"
GOLDEN, PORT = "docs/jobs/golden-test.md", "docs/jobs/check-a-tflite-conversion.md"


@dataclass
class Followed:
    """What became of a page: how its commands ended, and the names that its Python code made."""

    ended: dict[str, Ended] = field(default_factory=dict)
    names: dict[str, Any] = field(default_factory=dict)


class Reader:
    """Follows a page as a reader does: all blocks in order, in one folder that holds the sample models.

    What needs a shell gets one. The other commands run in this process, which saves the import of TensorFlow, as do
    those that a shell starts. The conversion to other formats runs once, and its files are copied afterwards.
    """

    def __init__(self, checkout: Path, folder: Path, tfdump: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        self._checkout = checkout
        self._folder = folder
        self._tfdump = tfdump
        self._monkeypatch = monkeypatch

    def follow(self, blocks: list[Block]) -> Followed:
        """Run the blocks; every command has to end well, and to print what the page shows."""
        done = Followed()
        for block in blocks:
            if block.language == PYTHON:
                with self._monkeypatch.context() as patch, contextlib.redirect_stdout(io.StringIO()):
                    patch.chdir(self._folder)
                    exec(block.text, done.names)
                continue
            for line in lines_of(block):
                done.ended[line.command] = self.run(line)
        assert undocumented_names(self._folder) == set()
        return done

    def run(self, line: Line) -> Ended:
        """Run one command line."""
        ended = self._run(line.command)
        assert ended.returncode == 0, f"{line.command}\n{ended.stderr}"
        for shown in line.shown:
            assert is_printed(shown, ended), f"{line.command}\nprints no longer: {shown}\n{ended.stdout}{ended.stderr}"
        return ended

    def _run(self, command: str) -> Ended:
        if re.fullmatch(r"tfdump [^|<>$;&]*", command):
            return self._tfdump(*shlex.split(command, comments=True)[1:])
        if command == EXPORT and (self._checkout / "exported").exists():
            shutil.copytree(self._checkout / "exported", self._folder / "exported")
            return Ended(0, "", "")
        done = self.shell("bash", "-c", f"set -euo pipefail\n{command}")
        if command == EXPORT:
            shutil.copytree(self._folder / "exported", self._checkout / "exported")
        return done

    def shell(self, *command: str) -> Ended:
        """Run a command with tfdump and python on the PATH."""
        path = f"{self._checkout / 'bin'}:/usr/bin:/bin"
        done = subprocess.run(command, cwd=self._folder, env={"PATH": path}, capture_output=True, text=True)
        return Ended(done.returncode, done.stdout, done.stderr)


def undocumented_names(folder: Path) -> set[str]:
    """The attributes and groups of the dumps in a folder that the page about the file does not name."""
    names: set[str] = set()

    def add(path: str, item: Any) -> None:
        names.update(item.attrs)
        if isinstance(item, h5py.Group) and "encoding" not in item.attrs:
            names.add(f"/{path}/")

    for dump in folder.rglob("*.h5"):
        with h5py.File(dump) as file:
            if file.attrs.get("format") == "tfdump":
                names.update(file.attrs)
                file.visititems(add)
    page = PAGES["docs/format.md"]
    return {name for name in names if f"`{name}{'' if name.endswith('/') else '`'}" not in page}


def is_printed(shown: str, ended: Ended) -> bool:
    """Tell whether a command printed a line that a page shows.

    Digits may differ. A page shows tables as a terminal does, without some columns and without the group of a tensor:
    of a row, the name counts.
    """
    printed = ended.stdout + ended.stderr
    if shown == "...":
        return True
    if "  " in shown:
        name, cells = shown.split("  ", maxsplit=1)[0], re.split(r"[\t\n]", ended.stdout)
        return any(cell == name or cell.endswith(f"/{name}") for cell in cells)
    return re.search(re.sub(r"\d+", r"\\d+", re.escape(shown)), " ".join(printed.split())) is not None


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that looks like the checkout, with tfdump on the PATH."""
    folder = tmp_path_factory.mktemp("documents")
    shutil.copytree(SAMPLES, folder / "sample_models")
    (folder / "bin").mkdir()
    (folder / "other" / "bin").mkdir(parents=True)  # another version of Keras, of which pages tell
    for name, words in (
        ("bin/tfdump", [*forked_python(), "-m", "tfdump"]),
        ("bin/python", forked_python()),
        ("other/bin/python", [sys.executable]),
    ):
        script = folder / name
        script.write_text(f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n')
        script.chmod(0o755)
    return folder


@pytest.fixture
def reader(checkout: Path, tmp_path: Path, tfdump: Run, monkeypatch: pytest.MonkeyPatch) -> Reader:
    """A reader in a new folder, whose sample models are its own."""
    shutil.copytree(checkout / "sample_models", tmp_path / "sample_models")
    shutil.copytree(checkout / "other", tmp_path / "other")
    return Reader(checkout, tmp_path, tfdump, monkeypatch)


@pytest.mark.tensorflow
@pytest.mark.parametrize(
    "page", [name for name, blocks in RUN.items() if blocks and name not in ("README.md", GOLDEN, PORT)]
)
def test_the_blocks_of_a_page_run_one_after_the_other(page: str, reader: Reader) -> None:
    reader.follow(RUN[page])


@pytest.mark.tensorflow
def test_the_readme_runs(reader: Reader, tmp_path: Path) -> None:
    done = reader.follow(RUN["README.md"])
    assert set(done.names["acts"]) == {"conv1", "conv2"}
    assert done.names["grads"]["inputs/image"].shape == done.names["x"].shape
    made = sorted(path.name for path in (tmp_path / "run").iterdir())
    assert made == ["epoch-0002.gradients.h5", "epoch-0004.gradients.h5"]


@pytest.mark.tensorflow
def test_the_golden_test_fails_with_the_layer_that_was_changed(reader: Reader, tmp_path: Path) -> None:
    import keras

    record, check, *_ = RUN[GOLDEN]
    ended = reader.follow(RUN[GOLDEN]).ended
    dump, judge = (line.command for line in lines_of(check))
    assert (tmp_path / "digits.golden.h5").stat().st_size < 200_000
    assert "digits.golden.h5" in record.text
    assert ended[judge].stdout.endswith("deployed\n")
    model = keras.models.load_model(tmp_path / "sample_models" / "digits_cnn.keras")
    kernel = model.get_layer("conv2").kernel
    kernel.assign(kernel * 1.01)
    model.save(tmp_path / "sample_models" / "digits_cnn.keras")
    reader.run(Line(dump))
    failed = reader.shell("sh", "-e", "-c", judge)
    assert failed.returncode == 1
    assert "deployed" not in failed.stdout
    shown = " ".join(PAGES[GOLDEN].split())
    assert "the log would say `first diverging layer: conv2 (Conv2D)`" in shown
    assert "first diverging layer: conv2 (Conv2D): by its statistics" in failed.stderr


@pytest.mark.tensorflow
def test_the_port_is_compared_layer_by_layer(reader: Reader) -> None:
    ended = reader.follow(RUN[PORT]).ended
    compared = [done for command, done in ended.items() if command.endswith("--all")]
    assert len(compared) == 2
    for done, agreed in zip(compared, ("10 tensors (4 missing)", "10 tensors (4 fused)"), strict=True):
        same = re.findall(r"^activations/(logits|predictions|relu1)\t.*\tsame\t", done.stdout, re.MULTILINE)
        assert sorted(same) == ["logits", "predictions", "relu1"]
        assert f"agree in {agreed}" in done.stderr


def test_there_are_commands_to_run() -> None:
    commands = [
        line for blocks in RUN.values() for block in blocks if block.language != PYTHON for line in lines_of(block)
    ]
    assert len(commands) >= 100
    assert {name for name, blocks in RUN.items() if blocks} >= {"README.md", GOLDEN, PORT, "sample_models/README.md"}


def test_few_blocks_are_not_run_and_each_says_why() -> None:
    reasons = [block.reason for text in PAGES.values() for block in blocks_of(text) if block.reason is not None]
    assert len(reasons) <= 14
    assert sum(text.count("<!-- not run:") for text in PAGES.values()) == len(reasons)


def test_no_block_that_is_run_hides_in_another_language() -> None:
    languages = {block.language for text in PAGES.values() for block in blocks_of(text)}
    assert languages <= {SHELL, CONSOLE, PYTHON, "yaml", "{eval-rst}", "{include}", "{toctree}"}
    assert not [name for name, text in PAGES.items() if re.search(r"^    (\$ )?tfdump ", text, re.MULTILINE)]


def test_an_attribute_that_is_not_documented_is_seen(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.attrs["format"] = "tfdump"
        file.create_dataset("activations/conv1", data=1).attrs["novelty"] = 1
        file.create_group("news").attrs["order"] = 1
    assert undocumented_names(tmp_path) == {"novelty", "/news/"}


@pytest.mark.parametrize(
    ("shown", "printed"),
    [
        ("conv1  Conv2D  0.5", True),
        ("conv2  Conv2D  0.5", True),
        ("conv9  Conv2D  0.5", False),
        ("10 tensors differ", True),
        ("12 tensors agree", False),
        ("...", True),
    ],
)
def test_what_a_page_shows_is_compared_with_what_is_printed(shown: str, printed: bool) -> None:
    assert (
        is_printed(shown, Ended(0, "tensor\tclass\nconv1\tConv2D\nactivations/conv2\tConv2D\n", "3 tensors\ndiffer\n"))
        is printed
    )


def option_names(lines: Iterator[str]) -> dict[str, set[str]]:
    """The options that the reference describes, by command."""
    options_of: dict[str, set[str]] = {}
    for line in lines:
        if line.startswith(".. program:: "):
            options = options_of.setdefault(line.removeprefix(".. program:: "), set())
        elif line.startswith(".. option:: "):
            options |= set(re.findall(r"(?<![\w-])--?[a-z][\w-]*", line.removeprefix(".. option:: ")))
    return options_of


def command_reference() -> Any:
    """The module that writes the reference of the commands."""
    spec = importlib.util.spec_from_file_location("command_reference", ROOT / "docs" / "command_reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_reference_describes_every_command_and_option() -> None:
    assert ".. commands:: tfdump.cli.main:cli" in PAGES["docs/reference/commands.md"]
    described = option_names(command_reference().reference_of(cli, "tfdump"))
    expected = {"tfdump": cli} | {f"tfdump {name}": cli.get_command(click.Context(cli), name) for name in COMMANDS}
    assert set(described) == set(expected)
    for name, command in expected.items():
        options = [o for o in command.params if isinstance(o, click.Option) and not o.hidden]
        spelled = {text for option in options for text in (*option.opts, *option.secondary_opts)}
        assert described[name] == spelled | {"-h", "--help"}, name


def test_an_option_that_the_reference_lacks_is_seen() -> None:
    lines = [".. program:: tfdump show", ".. option:: -q, --quiet", ".. option:: --a / --no-a", "--verbose"]
    assert option_names(iter(lines)) == {"tfdump show": {"-q", "--quiet", "--a", "--no-a"}}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_mentioned(name: str) -> None:
    assert any(f"tfdump {name}" in text for page, text in PAGES.items() if page.startswith("docs/"))


def test_links_lead_somewhere() -> None:
    for name, text in PAGES.items():
        for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", re.sub(r"`[^`\n]*`", "", text)):
            assert target.startswith("https://") or (ROOT / name).parent.joinpath(target).exists(), f"{name}: {target}"


@pytest.mark.parametrize("name", PAGES)
def test_no_document_has_a_place_that_waits_for_words(name: str) -> None:
    assert re.findall(r"\b(FIGURES?|NUMBERS?|TODO|TBD|FIXME|XXX+|LOREM)\b(?![^`\n]*`)", PAGES[name]) == []


def test_the_readme_can_be_read_in_one_sitting() -> None:
    assert len(README.splitlines()) <= 150


def test_outside_of_the_repository_no_link_is_dead() -> None:
    """The page of a package index knows no files beside it: what is linked says where it is, and is there."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    tables = project["tool"]["hatch"]
    shown = README
    for substitution in tables["metadata"]["hooks"]["fancy-pypi-readme"]["substitutions"]:
        shown = re.sub(substitution["pattern"], substitution["replacement"], shown)
    assert "SECURITY (`SECURITY.md` in the source archive)" in shown
    assert all(target.startswith(("https://", "#")) for target in re.findall(r"\]\(([^)]+)\)", shown))
    assert "docs/images" not in shown
    archive = tables["build"]["targets"]["sdist"]["include"]
    targets = re.findall(r"\(`([^`]+)` in the source archive\)", shown)
    assert len(targets) >= 30
    for target in targets:
        assert Path(target).parts[0] in archive
        assert (ROOT / target).exists()


def test_the_source_archive_holds_every_document() -> None:
    tables = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]
    assert {Path(name).parts[0] for name in PAGES} <= set(tables["build"]["targets"]["sdist"]["include"])


def test_the_changelog_names_this_version() -> None:
    version = import_module("tfdump").__version__
    changelog = PAGES["CHANGELOG.md"]
    assert f"## [{version}]" in changelog or f"\n## [Unreleased]\n\nThis will be {version}" in changelog


def test_the_readme_shows_rows_of_the_benchmarks() -> None:
    results = (ROOT / "benchmarks" / "RESULTS.md").read_text().splitlines()
    block = re.search(r"<!-- benchmarks: written by make bench -->\n(.*?)\n<!-- end", README, re.DOTALL)
    assert block is not None
    shown = block[1].splitlines()
    assert len(shown) == 4 + 5
    assert set(shown) <= set(results)


def definitions(path: Path) -> set[str]:
    """The names that a module defines, methods after the name of their class."""
    names = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            names.add(node.name)
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            names |= {
                ast.unparse(target) for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
            }
        if isinstance(node, ast.ClassDef):
            names |= {f"{node.name}.{inner.name}" for inner in node.body if isinstance(inner, ast.FunctionDef)}
    return names


def exists(name: str) -> bool:
    """Tell whether a dotted name is a folder, a module, or what a module defines."""
    place, parts = ROOT / "src", name.split(".")
    while parts and (place / parts[0]).is_dir():
        place /= parts.pop(0)
    if not parts:
        return True
    module = place / f"{parts[0]}.py"
    return module.exists() and (len(parts) == 1 or ".".join(parts[1:]) in definitions(module))


@pytest.mark.parametrize("page", ["docs/install.md", "RELEASING.md"])
def test_a_machine_without_tensorflow_gets_all_that_reading_needs(page: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = {re.split("[<>=]", line)[0]: line for line in project["dependencies"]}
    (line,) = re.findall(r"pip install ('click.*numpy.*rich)\b", (ROOT / page).read_text())
    installed = {re.split("[<>=]", word)[0]: word for word in shlex.split(line)}
    assert set(installed) == set(named) - {"tensorflow", "keras"}
    assert all(word in (name, named[name]) for name, word in installed.items())


ARCHITECTURE = sorted(set(re.findall(r"`(tfdump\.[\w.]+)`", PAGES["docs/architecture.md"])))


@pytest.mark.parametrize("name", ARCHITECTURE)
def test_the_architecture_names_what_exists(name: str) -> None:
    assert exists(name)


def test_a_name_that_does_not_exist_is_seen() -> None:
    assert len(ARCHITECTURE) >= 60
    assert exists("tfdump.run.pipeline.run_at_once")
    assert exists("tfdump.dump.writer.DumpWriter.link")
    assert not exists("tfdump.run.pipeline.run_at_one")
    assert not exists("tfdump.run.pipelines")


@pytest.mark.tensorflow
def test_the_demo_runs(tmp_path: Path, tfdump: Run) -> None:
    """The script runs with a stand-in that notes the commands, which then run in this process: it saves a minute."""
    samples = shutil.copytree(SAMPLES, tmp_path, dirs_exist_ok=True)
    notes, stand_in = samples / "commands.txt", samples / "bin" / "tfdump"
    stand_in.parent.mkdir()
    stand_in.write_text(f'#!/bin/sh\nfor word; do printf "%s\\t" "$word"; done >>"{notes}"\necho >>"{notes}"\n')
    stand_in.chmod(0o755)
    (stand_in.parent / "python").write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    (stand_in.parent / "python").chmod(0o755)
    env = {"PATH": f"{stand_in.parent}:/usr/bin:/bin"}
    done = subprocess.run(["sh", samples / "demo.sh"], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    commands = [line.split("\t")[:-1] for line in notes.read_text().splitlines()]
    assert len(commands) == done.stdout.count("$ tfdump ") == 13
    for command in commands:
        ended = tfdump(*command)
        assert ended.returncode == 0, f"{command}\n{ended.stderr}"
    assert len(list((samples / ".." / "demo-output").glob("*.h5"))) == 8
