"""What a quantized model has lost, on the page of two dumps: the chart along depth, and the layers to keep in float."""

import json
from pathlib import Path

import numpy as np
import pytest

from support.made_dumps import Tensor, make_dump
from support.report_pages import Node, parse
from tfdump.report.gather import gather
from tfdump.report.page import page_of
from tfdump.report.records import ReportOptions

X = np.random.default_rng(5).standard_normal((4, 300)).astype("f4")


@pytest.fixture(scope="module")
def sides(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Three layers, of which the second rounds coarsely and the third passes that on; the fourth is equal."""
    folder = tmp_path_factory.mktemp("losses")
    coarse = np.rint(X / 0.5).astype("i1")
    fine = np.clip(np.rint(X / 0.03), -128, 127).astype("i1")
    golden = {"fine": X, "coarse": Tensor(X, inputs=json.dumps(["fine"])),
              "behind": Tensor(X, inputs=json.dumps(["coarse"])), "equal": X}  # fmt: skip
    new = {"fine": Tensor(fine, scale=0.03), "coarse": Tensor(coarse, scale=0.5),
           "behind": Tensor((coarse * np.float32(0.5)).astype("f4"), scale=0.5, quantized_dtype="int8"),
           "equal": X}  # fmt: skip
    return make_dump(folder / "g.h5", golden), make_dump(folder / "n.h5", new)


def chapter(golden: Path, new: Path, **options: tuple[str, ...]) -> Node | None:
    """The chapter on quantization."""
    sections = parse(page_of(gather(golden, new, ReportOptions(pictures=0, **options)))).all("section")
    return next((one for one in sections if one.attributes["id"] == "quantization"), None)


def test_the_chart_has_the_noise_of_every_tensor(sides: tuple[Path, Path]) -> None:
    part = chapter(*sides)
    assert part is not None
    titles = {(name := title.text.split(": "))[0]: float(name[1]) for title in part.all("title")}
    exact = np.float64(X)
    noise = {"fine": exact - np.clip(np.rint(X / 0.03), -128, 127) * 0.03, "coarse": exact - np.rint(X / 0.5) * 0.5}
    share = {name: np.sqrt((one**2).sum() / (exact**2).sum()) for name, one in noise.items()}
    assert titles == pytest.approx({**share, "behind": share["coarse"], "equal": 0}, rel=1e-3)
    assert [point.all("title")[0].text.split(":")[0] for point in part.all("circle", class_="differs")] == ["coarse"]
    (item,) = part.all("li")
    assert item.text.startswith("coarse: SQNR ")
    assert item.text.endswith("dB at its inputs, largest error 0.5 steps")
    assert item.all("a")[0].attributes["href"] == "#t2"


def test_a_selection_names_no_layer_to_keep(sides: tuple[Path, Path]) -> None:
    part = chapter(*sides, layers=("coarse", "behind"))
    assert part is not None
    assert len(part.all("circle")) == 2
    assert not part.all("li")


def test_floats_have_no_such_chapter(sides: tuple[Path, Path]) -> None:
    assert chapter(sides[0], sides[0]) is None
