"""`tfdump show FOLDER`: the dumps of a training in order, and one tensor through them."""

import json
from pathlib import Path

import numpy as np
import pytest

from support.command import Run
from support.dump_folders import write_dump


def rows_of(text: str) -> list[list[str]]:
    return [line.split("\t") for line in text.splitlines()]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three epochs, with the gradient of the last two."""
    made = tmp_path / "run"
    made.mkdir()
    for epoch in (1, 2, 10):
        values = np.array([[0.0, -epoch], [np.nan, 3 * epoch]], np.float32)
        write_dump(made / f"epoch-{epoch:04d}.activations.h5", {"dense": values}, epoch=epoch, batch=5 * epoch)
    for epoch in (2, 10):
        write_dump(
            made / f"epoch-{epoch:04d}.gradients.h5",
            {"dense.kernel": np.full((2, 2), epoch, np.float32)},
            epoch=epoch, batch=5 * epoch, loss=1 / epoch, norm=2.0 * epoch, group="gradients/weights",
        )  # fmt: skip
    return made


def test_a_folder_is_listed_in_the_order_of_training(tfdump: Run, folder: Path) -> None:
    done = tfdump("show", folder)
    size = {path.name: str(path.stat().st_size) for path in folder.iterdir()}
    first, acts, grads, last, end = (
        "epoch-0001.activations.h5", "epoch-0002.activations.h5", "epoch-0002.gradients.h5",
        "epoch-0010.activations.h5", "epoch-0010.gradients.h5",
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert rows_of(done.stdout) == [
        ["dump", "epoch", "batch", "kind", "loss", "tensors", "examples", "bytes"],
        [first, "1", "5", "activations", "", "1", "4", size[first]],
        [acts, "2", "10", "activations", "", "1", "4", size[acts]],
        [grads, "2", "10", "gradients", "0.5", "1", "4", size[grads]],
        [last, "10", "50", "activations", "", "1", "4", size[last]],
        [end, "10", "50", "gradients", "0.1", "1", "4", size[end]],
    ]


def test_a_tensor_is_followed_with_its_statistics(tfdump: Run, folder: Path) -> None:
    rows = rows_of(tfdump("show", folder, "dense").stdout)
    assert rows[0] == ["tensor", "dump", "epoch", "batch", "shape", "dtype", "min", "max", "mean", "std", "l2",
                       "nan", "inf", "zero"]  # fmt: skip
    assert len(rows) == 4
    for row, epoch in zip(rows[1:], (1, 2, 10), strict=True):
        finite = np.array([0.0, -epoch, 3 * epoch])
        assert row[:6] == ["activations/dense", f"epoch-{epoch:04d}.activations.h5", str(epoch), str(5 * epoch),
                           "(2, 2)", "float32"]  # fmt: skip
        wanted = [finite.min(), finite.max(), finite.mean(), finite.std(), np.sqrt((finite**2).sum())]
        np.testing.assert_allclose([float(cell) for cell in row[6:11]], wanted, rtol=1e-14)
        assert row[11:] == ["1", "0", "1"]


def test_a_gradient_is_followed_with_its_norm_and_the_loss(tfdump: Run, folder: Path) -> None:
    rows = rows_of(tfdump("show", folder, "dense.kernel").stdout)
    columns = [rows[0].index(name) for name in ("dump", "loss", "norm", "mean")]
    assert [[row[column] for column in columns] for row in rows[1:]] == [
        ["epoch-0002.gradients.h5", "0.5", "4.0", "2.0"],
        ["epoch-0010.gradients.h5", "0.1", "20.0", "10.0"],
    ]


def test_json_has_the_same(tfdump: Run, folder: Path) -> None:
    listed = json.loads(tfdump("show", folder, "--json").stdout)
    assert (listed["kind"], listed["axis"], listed["folder"]) == ("series", "epoch", str(folder))
    assert [(item["dump"][:10], item["loss"]) for item in listed["items"]][-2:] == [
        ("epoch-0010", None), ("epoch-0010", 0.1)
    ]  # fmt: skip
    followed = json.loads(tfdump("show", folder, "dense", "dense.kernel", "--json").stdout)
    assert followed["kind"] == "followed"
    assert [item["number"] for item in followed["items"]] == [1, 2, 10, 2, 10]
    assert followed["items"][0]["shape"] == [2, 2]
    assert followed["items"][0]["statistics"]["nan"] == 1


def test_what_is_missing_or_no_dump_is_said(tfdump: Run, folder: Path) -> None:
    write_dump(folder / "epoch-0003.activations.h5", {"other": np.zeros(2, np.float32)}, epoch=3, batch=15)
    (folder / "weights.h5").write_bytes(b"no")
    done = tfdump("show", folder, "dense")
    assert len(rows_of(done.stdout)) == 4
    assert "weights.h5 is not an HDF5 file" in done.stderr
    assert "activations/dense is not in 1 of 4 dumps: epoch-0003.activations.h5" in done.stderr
    assert tfdump("show", folder, "dense", "-q").stderr == ""


def test_only_some_statistics_were_stored_or_none_can_be_had(tfdump: Run, tmp_path: Path) -> None:
    import h5py

    folder = tmp_path / "saved"
    folder.mkdir()
    text = h5py.string_dtype("utf-8")
    for number in (9, 10):
        path = write_dump(folder / f"step-{number}.h5", {"dense": np.ones(2, np.float32)})
        with h5py.File(path, "a") as file:
            words = file["activations"].create_dataset("words", data=["a", "b"], dtype=text)
            words.attrs.update({"address": "words", "dtype": "string", "order": 1})
    assert rows_of(tfdump("show", folder).stdout)[0][:3] == ["dump", "number", "kind"]
    assert rows_of(tfdump("show", folder, "words").stdout) == [
        ["tensor", "dump", "number", "shape", "dtype"],
        ["activations/words", "step-9.h5", "9", "(2,)", "string"],
        ["activations/words", "step-10.h5", "10", "(2,)", "string"],
    ]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("run", "nothing"), "no dump in run has a tensor 'nothing'"),
        (("run", "--provenance"), "--provenance and --slice need one dump, and this is a folder"),
        (("empty",), "empty has no dumps"),
    ],
)
def test_trouble_is_one_line(tfdump: Run, folder: Path, arguments: tuple[str, ...], said: str) -> None:
    (folder.parent / "empty").mkdir()
    done = tfdump("show", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("Error: ")
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
