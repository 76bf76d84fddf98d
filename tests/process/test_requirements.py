"""A stack that is missing, too old, too new or broken: one line says what is needed, what is there, how to install."""

import importlib.metadata
import os
import subprocess
import sys
import tomllib
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from support.command import ROOT, SAMPLES, Ended, Run
from support.dumps import write_dump
from support.plotted_dumps import plot_dump
from tfdump.process.requirements import REQUIREMENTS, Requirement, complaint, installed_version

MODEL, INPUT = SAMPLES / "wine_mlp.keras", SAMPLES / "wine.npy"
READS_DUMPS = "numpy", "h5py", "click"
"""All that the commands that only read dumps need."""


def run(words: tuple[object, ...], folder: Path, *before: Path, alone: bool = False) -> Ended:
    """Run the command with folders before all others that packages are looked for in, or without any other."""
    paths = [*before, ROOT / "src"]
    code = f"import sys; sys.path[:0] = {[str(path) for path in paths]}; from tfdump.cli.entry import main; main()"
    environment = {name: value for name, value in os.environ.items() if name not in ("KERAS_BACKEND", "PYTHONPATH")}
    command = [sys.executable, *(["-I", "-S"] if alone else []), "-c", code, *map(str, words)]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
    return Ended(done.returncode, done.stdout, done.stderr)


def installed(folder: Path, package: str, version: str | None, code: str | None = None) -> Path:
    """Put what an installer writes about a package into a folder, and a module with some code in its place."""
    if version is not None:
        about = folder / f"{package}-{version}.dist-info"
        about.mkdir(parents=True)
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n")
    if code is not None:
        (folder / package).mkdir(parents=True, exist_ok=True)
        (folder / package / "__init__.py").write_text(code)
    return folder


def linked(folder: Path, *packages: str) -> Path:
    """Make a folder in which nothing but some of the installed packages is."""
    folder.mkdir()
    for package in packages:
        place = Path(find_spec(package).origin).parent
        others = place.parent.glob(f"{package}-*.dist-info"), place.parent.glob(f"{package}.libs")
        for path in (place, *others[0], *others[1]):
            (folder / path.name).symlink_to(path)
    return folder


def requirements_of(specifiers: list[str]) -> dict[str, tuple[str, str | None]]:
    """The lowest version of each package, and the one that it has to be below."""
    requirements = {}
    for specifier in specifiers:
        package, _, limits = specifier.partition(">=")
        lowest, _, below = limits.partition(",<")
        requirements[package.replace("-", "_")] = lowest, below or None
    return requirements


def test_the_versions_are_those_of_the_project_file() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    of_developers = {"browser", "samples", "docs", "dev"}
    extras = project["optional-dependencies"]
    optional = [line for extra in extras.keys() - of_developers for line in extras[extra]]
    for specifiers, extra in ((project["dependencies"], False), (optional, True)):
        known = {
            requirement.distribution.replace("-", "_"): (requirement.lowest, requirement.below)
            for requirement in REQUIREMENTS.values()
            if requirement.extra == extra
        }
        assert known == requirements_of(specifiers)


def test_what_runs_here_is_what_is_needed() -> None:
    assert complaint(REQUIREMENTS) is None
    for package in READS_DUMPS:
        assert installed_version(package) == importlib.metadata.version(package)
    assert installed_version("PIL") == importlib.metadata.version("pillow")


@pytest.mark.parametrize(
    ("version", "allowed"),
    [
        ("3.15.0", False),
        ("3.15.1", True),
        ("3.15.12", True),
        ("3.16.0", False),
        ("3.16.0.dev2026102704", False),
        ("3.16.0rc1", False),
        ("3.9.2", False),
        ("2.15.0", False),
        ("4", False),
    ],
)
def test_versions_are_compared_as_numbers(version: str, allowed: bool) -> None:
    assert Requirement("keras", "Keras", "3.15.1", "3.16").allows(version) is allowed


@pytest.mark.parametrize("command", ["layers", "activations", "gradients"])
@pytest.mark.parametrize("version", ["2.15.0", "3.10.0", "3.15.0", "3.16.0.dev2026102704"])
def test_another_keras_is_one_line(tmp_path: Path, command: str, version: str) -> None:
    others = installed(tmp_path / "others", "keras", version, "raise RuntimeError('it was imported')")
    words = (command, MODEL) if command == "layers" else (command, MODEL, INPUT)
    done = run(words, tmp_path, others)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"Error: tfdump needs Keras 3.15.1 to 3.15.x, found {version} (pip install 'keras>=3.15.1,<3.16')\n"
    )


def test_both_are_said_at_once(tmp_path: Path) -> None:
    others = installed(installed(tmp_path / "others", "keras", "2.15.0"), "tensorflow", "2.15.1")
    assert run(("layers", MODEL), tmp_path, others).stderr == (
        "Error: tfdump needs TensorFlow 2.18 to 2.22.x, found 2.15.1, and Keras 3.15.1 to 3.15.x, found 2.15.0 "
        "(pip install 'tensorflow>=2.18,<2.23' 'keras>=3.15.1,<3.16')\n"
    )


def test_a_build_of_another_name_is_asked_for_its_version(tmp_path: Path) -> None:
    """As `tensorflow-cpu` is, of which pip knows no `tensorflow`."""
    packages = linked(tmp_path / "packages", *READS_DUMPS)
    installed(packages, "keras", "3.15.1", "")
    installed(packages, "tensorflow", None, "__version__ = '2.17.0'")
    done = run(("layers", MODEL), tmp_path, packages, alone=True)
    assert done.returncode == 2
    assert done.stderr == (
        "Error: tfdump needs TensorFlow 2.18 to 2.22.x, found 2.17.0 (pip install 'tensorflow>=2.18,<2.23')\n"
    )


def test_a_tensorflow_that_cannot_be_imported_is_one_line(tmp_path: Path) -> None:
    code = "import os; os.write(2, b'chatter\\n'); raise ImportError('libcudart.so.12: cannot open\\nsecond line')"
    others = installed(tmp_path / "others", "tensorflow", "2.21.0", code)
    done = run(("layers", MODEL), tmp_path, others)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "Error: TensorFlow or Keras cannot be imported: ImportError: libcudart.so.12: cannot open (-v shows more; to "
        "reinstall both: pip install --force-reinstall 'tensorflow>=2.18,<2.23' 'keras>=3.15.1,<3.16')\n"
    )
    more = run(("layers", "-v", MODEL), tmp_path, others).stderr
    assert "chatter\n" in more
    assert "second line" in more


def test_python_says_the_same(tmp_path: Path) -> None:
    others = installed(tmp_path / "others", "keras", "3.10.0")
    (tmp_path / "m.keras").write_bytes(MODEL.read_bytes())
    code = (
        f"import sys; sys.path.insert(0, {str(others)!r})\n"
        "import tfdump\n"
        "for call in (lambda: tfdump.activations('m.keras', [1]), lambda: tfdump.DumpCallback('run')):\n"
        "    try:\n"
        "        call()\n"
        "    except tfdump.TfdumpError as error:\n"
        "        print(type(error).__name__, error)\n"
        "assert 'tensorflow' not in sys.modules and 'keras' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout.splitlines() == 2 * [
        "ModelError tfdump needs Keras 3.15.1 to 3.15.x, found 3.10.0 (pip install 'keras>=3.15.1,<3.16')"
    ]


def test_what_only_reads_dumps_needs_three_packages(tmp_path: Path) -> None:
    packages = linked(tmp_path / "packages", *READS_DUMPS)
    write_dump(tmp_path / "odd.h5")
    plot_dump(tmp_path / "d.h5", {"dense": np.random.default_rng(0).normal(size=(6, 5)).astype("f4")})
    for words in (
        ("--help",),
        ("show", "odd.h5", "--stats"),
        ("show", "odd.h5", "dense"),
        ("cat", "odd.h5", "dense", "--format", "csv"),
        ("diff", "odd.h5", "odd.h5"),
        ("check", "d.h5"),
        ("report", "d.h5", "-o", "d.html"),
        ("plot", "d.h5", "dense", "--text"),
    ):
        done = run(words, tmp_path, packages, alone=True)
        assert done.returncode == 0, (words, done.stderr)
    done = run(("activations", MODEL, INPUT), tmp_path, packages, alone=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "Error: tfdump needs TensorFlow 2.18 to 2.22.x, which is not installed, and Keras 3.15.1 to 3.15.x, which is "
        "not installed (pip install 'tensorflow>=2.18,<2.23' 'keras>=3.15.1,<3.16')\n"
    )


def test_python_lists_all_names_without_keras_and_says_what_the_callback_needs(tmp_path: Path) -> None:
    """`from tfdump import *` and `help(tfdump)` look at each name."""
    packages = linked(tmp_path / "packages", *READS_DUMPS)
    code = (
        f"import sys; sys.path[:0] = {[str(packages), str(ROOT / 'src')]}\n"
        "import pydoc, tfdump\nfrom tfdump import *\nprint('Writes dumps while' in pydoc.render_doc(tfdump))\n"
        "try: DumpCallback('run')\nexcept TfdumpError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.stderr == ""
    names, why = done.stdout.splitlines()
    assert names == "True"
    assert why.startswith("tfdump needs TensorFlow 2.18 to 2.22.x, which is not installed")


@pytest.mark.parametrize("version", ["8.1.7", "8.3.3"])
def test_a_click_that_is_too_old_is_one_line(tmp_path: Path, version: str) -> None:
    """The command line cannot even start; what it fails with depends on the version."""
    others = installed(tmp_path / "others", "click", version, "raise TypeError('type is not subscriptable')")
    for words in (("--help",), ("show", "d.h5")):
        done = run(words, tmp_path, others)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr == f"Error: tfdump needs Click 8.4 or newer, found {version} (pip install 'click>=8.4')\n"


def test_a_library_of_inputs_that_is_too_old_is_one_line(tmp_path: Path) -> None:
    others = installed(tmp_path / "others", "pyarrow", "14.0.1", "def __getattr__(name): raise AttributeError(name)")
    (tmp_path / "wine.csv").write_text("a,b\n1,2\n")
    done = run(("activations", MODEL, "wine.csv"), tmp_path, others)
    assert done.stderr == "Error: tfdump needs PyArrow 18 or newer, found 14.0.1 (pip install 'pyarrow>=18')\n"


def test_a_package_that_is_missing_is_one_line(tmp_path: Path) -> None:
    packages = linked(tmp_path / "packages", "numpy", "click")
    (tmp_path / "d.h5").touch()
    done = run(("show", "d.h5"), tmp_path, packages, alone=True)
    assert done.stderr == (
        "Error: tfdump needs h5py 3.12.1 or newer, which is not installed (pip install 'h5py>=3.12.1')\n"
    )
    done = run(("--help",), tmp_path, linked(tmp_path / "less", "numpy"), alone=True)
    assert done.stderr == "Error: tfdump needs Click 8.4 or newer, which is not installed (pip install 'click>=8.4')\n"


def test_a_mistake_of_tfdump_stays_one(tfdump: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tfdump.cli.commands import show

    def mistaken(*_: object, **__: object) -> None:
        raise KeyError("min")

    monkeypatch.setattr(show.command, "callback", mistaken)
    write_dump(tmp_path / "d.h5")
    assert "Error: unexpected KeyError: 'min' (a bug in tfdump" in tfdump("show", "d.h5").stderr


def test_what_is_not_in_use_explains_nothing(tmp_path: Path) -> None:
    others = installed(tmp_path / "others", "tensorflow", "2.10.0")
    code = "from tfdump.process.requirements import complaint_behind; print(complaint_behind(KeyError('min')))"
    path = f"import sys; sys.path.insert(0, {str(others)!r}); "
    done = subprocess.run([sys.executable, "-c", path + code], capture_output=True, text=True)
    assert done.stdout == "None\n"
