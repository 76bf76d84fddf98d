"""`tfdump report` from the outside."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from support.check_dumps import normal, write_dump
from support.command import Run


@pytest.fixture
def dump(tmp_path: Path) -> Path:
    return write_dump(tmp_path / "a.h5", {"activations/x": normal(200, 100), "activations/y": normal(4, 3)})


def test_it_prints_the_path_of_the_page(tfdump: Run, dump: Path) -> None:
    done = tfdump("report", "a.h5", "--pictures", "1")
    assert (done.returncode, done.stdout) == (0, "a.report.html\n")
    assert done.stderr == (
        "Note: the page has pictures of 1 of 2 tensors, those with findings or differences first "
        "(--pictures N|all draws more)\n"
    )
    page = (dump.parent / "a.report.html").read_bytes()
    assert page.startswith(b'<!DOCTYPE html>\n<html lang="en">')
    again = tfdump("report", "a.h5", "-o", "b.html", "--pictures", "1", "-q")
    assert again.stderr == ""
    assert (dump.parent / "b.html").read_bytes() == page


def test_what_is_sampled_is_said(tfdump: Run, dump: Path) -> None:
    done = tfdump("report", "a.h5", "--pictures", "none", "--read", "10kB")
    assert (
        "Note: sampled: the report read 2,012 of 20,012 values (the dump has 78.2 KiB), and only part of 1 of 2 tensors"
        in done.stderr
    )
    assert tfdump("report", "a.h5", "--pictures", "none", "--read", "all", "-f").stderr == ""


def test_a_comparison_says_its_verdict_and_is_no_failure(tfdump: Run, dump: Path) -> None:
    write_dump(dump.parent / "b.h5", {"activations/x": normal(200, 100), "activations/y": normal(4, 3) * 2})
    done = tfdump("report", "a.h5", "b.h5", "--pictures", "none", "-o", "r.html")
    assert done.returncode == 0
    assert "Note: a.h5 and b.h5 differ: 1 of 2 tensors differs; first diverging layer: y (Dense)" in done.stderr
    done = tfdump("report", "a.h5", "b.h5", "--pictures", "none", "-o", "r.html", "-f", "--scale", "2")
    assert "agree in 2 tensors" in done.stderr
    (dump.parent / "map.tsv").write_text("y\tz\n")
    write_dump(dump.parent / "c.h5", {"activations/z": normal(4, 3)})
    done = tfdump("report", "a.h5", "c.h5", "--pictures", "none", "-f", "--map", "map.tsv", "--allow-missing")
    assert "a.h5 and c.h5 agree in 1 tensor (1 missing)" in done.stderr


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("no.h5",), "no.h5"),
        (("a.h5", "no.h5"), "no.h5"),
        (("a.h5", "-l", "zzz"), "zzz"),
        (("a.h5", "--pictures", "some"), "--pictures 'some' is neither a number, 'none' nor 'all'"),
        (("a.h5", "--read", "much"), "'much' is not a number of bytes"),
        (("a.h5", "--rtol", "1"), "need OTHER (give a second dump)"),
        (("a.h5", "--map", "a.h5"), "need OTHER (give a second dump)"),
        (("a.h5", "-o", "a.h5", "-f"), "is the file that"),
        (("a.h5", "-o", "none/r.html"), "none does not exist"),
        (("a.h5", "-o", "-"), "the page is written to a file (use -o FILE.html)"),
        (("a.h5", "-o", "there.html"), "there.html exists"),
        (("text.h5",), "text.h5"),
        (("other.h5",), "not a dump"),
        (("a.h5", "b.npy"), "nothing to compare"),
    ],
)
def test_bad_input_is_one_line_and_leaves_no_file(tfdump: Run, dump: Path, options: tuple[str, ...], said: str) -> None:
    import h5py

    folder = dump.parent
    (folder / "there.html").write_text("mine")
    (folder / "text.h5").write_text("no HDF5")
    np.save(folder / "b.npy", np.zeros(3))
    h5py.File(folder / "other.h5", "w").close()
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    done = (
        tfdump("report", *options, "--pictures", "none") if "--pictures" not in options else tfdump("report", *options)
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("Error: ")
    assert said in done.stderr
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


@pytest.mark.parametrize("with_matplotlib", [False, True])
def test_without_the_extra_the_page_has_no_pictures_and_says_so(dump: Path, with_matplotlib: bool) -> None:
    """And whatever is there, a page is made without TensorFlow."""
    script = (
        "import sys\n"
        + ("" if with_matplotlib else "sys.modules['matplotlib'] = None\n")
        + "from tfdump.cli.main import run\n"
        "status = run(['report', 'a.h5'])\n"
        "assert not {'tensorflow', 'keras'} & set(sys.modules)\n"
        f"assert bool(sys.modules.get('matplotlib')) is {with_matplotlib}\n"
        "sys.exit(status)"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=dump.parent, capture_output=True, text=True)
    page = (dump.parent / "a.report.html").read_text("utf-8")
    assert (done.returncode, done.stdout) == (0, "a.report.html\n"), done.stderr
    assert (
        "pip install &#x27;tfdump[plot]&#x27;" in page or "pip install 'tfdump[plot]'" in page
    ) is not with_matplotlib
    assert ("data:image/png" in page) is with_matplotlib
    assert done.stderr.startswith("Note: the page has no pictures") is not with_matplotlib


def test_a_page_does_not_go_into_a_file_of_another_format(tfdump: Run, tmp_path: Path) -> None:
    write_dump(tmp_path / "d.h5", {"activations/a": np.zeros((2, 3), "f4")})
    done = tfdump("report", "d.h5", "-o", "page.pdf")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "Error: 'page.pdf' is the name of a PDF file, which is not what is written there (end it in .html, .htm)\n"
    )
    assert not (tmp_path / "page.pdf").exists()


@pytest.mark.parametrize("name", ["r.txt", "page.xhtml", "d.report"])
def test_a_page_does_not_go_into_a_file_of_an_unknown_ending(tfdump: Run, tmp_path: Path, name: str) -> None:
    write_dump(tmp_path / "d.h5", {"activations/a": np.zeros((2, 3), "f4")})
    done = tfdump("report", "d.h5", "-o", name)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"Error: '{name}' is not the name of a web page (end it in .html, .htm)\n"
    assert not (tmp_path / name).exists()
