"""`tfdump merge`, and the commands that take a folder of shards as one dump."""

import filecmp
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import tfdump as package
from support.command import Run
from support.sharded_runs import EXAMPLES, SIZE, MadeRun, every_kind, named, widens
from tfdump.errors import TfdumpError

RUN = MadeRun([*every_kind(), widens()], EXAMPLES, SIZE, names=named())


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One run as `one.h5`, and its shards."""
    folder = tmp_path_factory.mktemp("runs")
    RUN.write(folder / "one.h5")
    RUN.write_shards(folder / "shards", (8, 20, 22))
    return folder


def test_it_prints_the_path_and_tells_what_one_run_tells(tfdump: Run, runs: Path, tmp_path: Path) -> None:
    merged = tfdump("merge", runs / "shards", "-o", "m.h5")
    assert (merged.returncode, merged.stdout) == (0, "m.h5\n")
    assert "Note: stored batch by batch, because they have no row per example (batch 3 of 6 has 5 rows" in merged.stderr
    assert filecmp.cmp(runs / "one.h5", tmp_path / "m.h5", shallow=False)
    again = tfdump("merge", runs / "shards", "-o", "m.h5")
    assert again.returncode == 2
    assert again.stderr == "Error: output m.h5 exists (overwrite it with -f, or choose another with -o)\n"
    assert tfdump("merge", runs / "shards", "-o", "m.h5", "-f", "-q").stderr == ""


COMMANDS = {
    "table": ["show", "--stats"],
    "json": ["show", "--stats", "--json"],
    "provenance": ["show", "--provenance"],
    **{f"values of {name}": ["show", name] for name in ("dense", "ragged", "sparse", "uneven", "bytes", "heads")},
    "checks": ["check"],
    "csv with names": ["cat", "dense", "--format", "csv", "--ids"],
    "every second": ["cat", "wide", "--format", "csv", "--slice", "1:22:2,1"],
    "stack": ["cat", "departs", "--format", "c"],
    "batches": ["cat", "varies_inside", "--format", "csv"],
    "names": ["cat", "examples/id", "--format", "csv"],
    "text": ["plot", "dense", "--text"],
}


@pytest.mark.parametrize("arguments", COMMANDS.values(), ids=COMMANDS)
def test_the_output_is_that_of_one_file(tfdump: Run, runs: Path, arguments: list[str]) -> None:
    command, *rest = arguments
    one, shards = (tfdump(command, runs / name, *rest) for name in ("one.h5", "shards"))
    assert shards.returncode == one.returncode
    assert shards.stdout.replace(str(runs / "shards"), "DUMP") == one.stdout.replace(str(runs / "one.h5"), "DUMP")
    assert shards.stderr.replace("shards", "one.h5") == one.stderr
    assert len(one.stdout) > 30


def test_the_page_of_the_shards_is_that_of_one_file(tfdump: Run, tmp_path: Path) -> None:
    """Pictures show the name of the dump, so both have the same one."""
    run = replace(RUN, tensors=every_kind()[:12])
    (tmp_path / "one").mkdir()
    (tmp_path / "parts").mkdir()
    run.write(tmp_path / "one/d.h5")
    run.write_shards(tmp_path / "parts/d.h5", (8, 22))
    texts = []
    for name in ("one", "parts"):
        assert tfdump("report", f"{name}/d.h5", "-o", "page.html", "-f").returncode == 0
        texts.append((tmp_path / "page.html").read_text().replace(f"{name}/", ""))
    assert texts[1] == texts[0]


def test_a_folder_of_shards_is_compared(tfdump: Run, runs: Path, tmp_path: Path) -> None:
    same = tfdump("diff", runs / "one.h5", runs / "shards", "--exact")
    assert (same.returncode, "agree in" in same.stderr + same.stdout) == (0, True)
    other = replace(RUN, tensors=every_kind()[:1], size=11).write_shards(tmp_path / "other", (11, 22))
    assert tfdump("diff", runs / "shards", other, "--allow-missing", "-l", "dense").returncode in (0, 1)


def test_a_missing_shard_is_one_line(tfdump: Run, runs: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(runs / "shards", tmp_path / "copy"))
    next(folder.glob("shard-000000000108-*")).unlink()
    for command in (["show"], ["merge", "-o", "m.h5"], ["check"], ["cat", "dense"], ["diff", str(runs / "one.h5")]):
        ended = tfdump(command[0], "copy", *command[1:])
        assert ended.returncode == 2
        assert ended.stderr.startswith("Error: copy lacks 1 of 3 shards: shard-000000000108-000000000120.h5 (ex")
        assert "--shard 2/3" in ended.stderr
        assert ended.stderr.count("\n") == 1
    assert not (tmp_path / "m.h5").exists()


def test_what_is_no_folder_of_shards_is_one_line(tfdump: Run, runs: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    ended = tfdump("merge", "empty", "-o", "m.h5")
    assert (ended.returncode, ended.stderr.count("\n")) == (2, 1)
    assert "empty is no folder of shards: it has no manifest.json" in ended.stderr
    (tmp_path / "file").touch()
    file = tfdump("merge", "file", "-o", "m.h5").stderr
    assert file == "Error: file is not a folder (name the folder of the shards)\n"
    assert "no such folder: nowhere" in tfdump("merge", "nowhere", "-o", "m.h5").stderr
    assert "m.npy" in tfdump("merge", runs / "shards", "-o", "m.npy").stderr


def test_it_imports_no_tensorflow(runs: Path, tmp_path: Path) -> None:
    code = (
        "import sys\nfrom tfdump.cli.main import run\n"
        f"status = run(['merge', {str(runs / 'shards')!r}, '-o', {str(tmp_path / 'm.h5')!r}, '-q'])\n"
        "assert not {'tensorflow', 'keras', 'onnxruntime'} & set(sys.modules)\nsys.exit(status)"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=120, capture_output=True).returncode == 0


def test_in_python(runs: Path, tmp_path: Path) -> None:
    run = replace(RUN, tensors=every_kind()[:2])
    folder = run.write_shards(tmp_path / "shards", (8, 22))
    run.write(tmp_path / "one.h5")
    assert package.merge(folder, tmp_path / "m.h5") == tmp_path / "m.h5"
    assert filecmp.cmp(tmp_path / "one.h5", tmp_path / "m.h5", shallow=False)
    with pytest.raises(TfdumpError, match="exists"):
        package.merge(folder, tmp_path / "m.h5")
    with pytest.raises(TfdumpError, match="path 3 is not a path to a file"):
        package.merge(folder, 3)  # type: ignore[arg-type]  # what a user may pass
    with pytest.warns(package.TfdumpWarning, match="stored batch by batch"):
        package.merge(runs / "shards", tmp_path / "all.h5")
