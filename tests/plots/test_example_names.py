"""Pictures say which file an example is, and draw one that is chosen by its name."""

from pathlib import Path

import numpy as np
import pytest

from support.command import Run
from support.example_names import photos, with_names
from support.figures import texts, trouble
from support.plotted_dumps import plot_dump, stored
from tfdump.dump.reader import open_dump
from tfdump.plots.drawing import Picture, picture_of
from tfdump.plots.kinds import Kind
from tfdump.plots.view_options import ViewOptions

RANDOM = np.random.default_rng(2)
CONV, DENSE = RANDOM.normal(size=(6, 4, 4, 5)).astype("f4"), RANDOM.normal(size=(6, 8)).astype("f4")
STEPS = RANDOM.normal(size=(3, 6)).astype("f4")
NAMES = ["cat/$1^2$.jpg", *photos(6)[1:]]


@pytest.fixture
def dump(tmp_path: Path) -> Path:
    tensors = {
        "conv": CONV,
        "dense": DENSE,
        "outputs/kernel": stored(RANDOM.normal(size=(6, 8)).astype("f4"), axis0="none"),
        "gradients/inputs/norms": stored(STEPS, axis0="step", shape=np.array([-1], np.int64)),
    }
    return with_names(plot_dump(tmp_path / "d.h5", tensors), NAMES)


def drawn(dump: Path, name: str, kind: Kind | None = None, **view: object) -> Picture:
    with open_dump(dump) as opened:
        return picture_of(opened, opened[name], kind, ViewOptions(**view))  # type: ignore[arg-type]  # of all kinds


def test_the_caption_and_the_note_have_the_name(dump: Path) -> None:
    picture = drawn(dump, "conv")
    assert picture.notes[0] == "the picture shows example 0 of 6, cat/$1^2$.jpg (choose another with --example N)"
    assert any("example 0 of 6, cat/$1^2$.jpg, d.h5" in text for text in texts(picture.figure))
    assert any("example 4 of 6, dog/4.jpg, d.h5" in text for text in texts(drawn(dump, "conv", example=4).figure))
    assert any("example 5 of 6, dog/5.jpg" in text for text in texts(drawn(dump, "conv", example=-1).figure))


def test_a_histogram_of_one_example_has_the_name(dump: Path) -> None:
    picture = drawn(dump, "conv", Kind.HISTOGRAM, example=2)
    assert any("example 2 of 6, cat/2.jpg, d.h5" in text for text in texts(picture.figure))
    assert not any(".jpg" in text for text in texts(drawn(dump, "conv", Kind.HISTOGRAM).figure))


def test_rows_of_a_heat_map_bear_the_names(dump: Path) -> None:
    figure = drawn(dump, "dense").figure
    assert [text for text in texts(figure) if text.endswith(".jpg")] == NAMES
    assert any("examples 0 to 5 of 6, cat/$1^2$.jpg to dog/5.jpg, d.h5" in text for text in texts(figure))
    assert trouble(figure) == []
    part = texts(drawn(dump, "dense", examples=(2, 4)).figure)
    assert [text for text in part if text.endswith(".jpg")] == NAMES[2:4]


def test_a_tensor_of_no_examples_has_no_names(dump: Path) -> None:
    assert not any(".jpg" in text for text in texts(drawn(dump, "outputs/kernel").figure))


def test_more_rows_than_labels_are_numbered(tmp_path: Path) -> None:
    path = with_names(plot_dump(tmp_path / "d.h5", {"dense": np.zeros((300, 2), "f4")}), photos(300))
    found = texts(drawn(path, "dense", examples=(0, 300)).figure)
    assert not any(text.endswith(".jpg") for text in found)
    assert any("cat/0.jpg to dog/299.jpg" in text for text in found)


@pytest.mark.parametrize("name", ["dog/4.jpg", "4.jpg"])
def test_an_example_is_chosen_by_its_name(tfdump: Run, dump: Path, name: str) -> None:
    assert tfdump("plot", dump, "conv", "--example", name, "-o", "by_name.png").returncode == 0
    assert tfdump("plot", dump, "conv", "--example", "4", "-o", "by_row.png").returncode == 0
    assert (dump.parent / "by_name.png").read_bytes() == (dump.parent / "by_row.png").read_bytes()
    assert tfdump("plot", dump, "conv", "--example", "3", "-o", "other.png").returncode == 0
    assert (dump.parent / "other.png").read_bytes() != (dump.parent / "by_row.png").read_bytes()


def test_text_and_folders_take_a_name_too(tfdump: Run, dump: Path, tmp_path: Path) -> None:
    by_name = tfdump("plot", dump, "conv", "--example", "dog/4.jpg", "--text")
    assert by_name.returncode == 0
    assert by_name.stdout == tfdump("plot", dump, "conv", "--example", "4", "--text").stdout
    assert tfdump("plot", dump, "--all", "--example", "dog/4.jpg", "-o", "out").returncode == 0
    series = tmp_path / "series"
    series.mkdir()
    for epoch in range(2):
        path = plot_dump(series / f"e{epoch}.h5", {"conv": CONV + epoch}, kind="activations", epoch=epoch)
        with_names(path, NAMES)
    done = tfdump("plot", series, "conv", "--animate", "a.gif", "--example", "dog/4.jpg")
    assert done.returncode == 0, done.stderr
    tfdump("plot", series, "conv", "--animate", "b.gif", "--example", "4")
    assert (tmp_path / "a.gif").read_bytes() == (tmp_path / "b.gif").read_bytes()


def test_an_overlay_is_the_row_of_the_name(tfdump: Run, tmp_path: Path) -> None:
    image = RANDOM.normal(size=(6, 8, 8, 1)).astype("f4")
    with_names(plot_dump(tmp_path / "g.h5", {"gradients/inputs/image": image}), NAMES)
    np.save(tmp_path / "x.npy", image)
    for name, example in (("a.png", "dog/4.jpg"), ("b.png", "4")):
        done = tfdump("plot", "g.h5", "gradients/inputs/image", "--overlay", "x.npy", "--example", example, "-o", name)
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_an_unknown_name_is_one_line(tfdump: Run, dump: Path) -> None:
    done = tfdump("plot", dump, "conv", "--example", "dog/9.jpg")
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1)
    assert "has no example 'dog/9.jpg'; near: 'dog/5.jpg'" in done.stderr
    listed = tfdump("cat", dump, "examples/id", "--format", "csv")
    assert "cat d.h5 examples/id --format csv)" in done.stderr.replace(f"{dump.parent}/", "")
    assert "dog/5.jpg" in listed.stdout
