"""Who the examples of a dump are."""

from pathlib import Path

import h5py
import keras
import numpy as np
import pytest

import tfdump
from support.named_rows import NamedRows
from tfdump.address import Selection
from tfdump.errors import DumpError
from tfdump.inputs.identity import ClassLabels
from tfdump.inputs.input_array import InputArray
from tfdump.model.loading.load import in_memory
from tfdump.run.activations.options import activation_options
from tfdump.run.activations.run import open_activations
from tfdump.run.options import RunOptions

pytestmark = pytest.mark.tensorflow

NAMES = ["cat/1.jpg", "cat/ä.jpg", "dog/1.jpg", "dog/2.jpg", "dog/3.jpg"]


def dumped(path: Path, names: list[str], labels: ClassLabels | None = None, examples: tuple[int, int] = (0, 5)) -> Path:
    """A dump of a small model on rows with names."""
    from tfdump.inputs.source import ReadingOptions

    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3, name="d")])
    rows = NamedRows(np.arange(10.0, dtype=np.float32).reshape(5, 2), names, labels)
    options = activation_options(
        Selection((), (), None), RunOptions(batch_size=2), reading=ReadingOptions(examples=examples), checksums=True
    )
    arrays = [InputArray(None, rows)]
    with (
        open_activations(in_memory(model), arrays, options, lambda text: None) as run,
        run.open_writer(path, force=False) as writer,
    ):
        run.write(writer, "a test")
    return path


def test_names_and_labels_are_stored(tmp_path: Path) -> None:
    path = dumped(tmp_path / "d.h5", NAMES, ClassLabels(np.array([0, 0, 1, 1, 1]), ("cat", "dog")))
    with h5py.File(path) as file:
        assert [name.decode() for name in file["examples/id"][()]] == NAMES
        assert file["examples/label"][()].tolist() == [0, 0, 1, 1, 1]
        assert [name.decode() for name in file["examples/classes"][()]] == ["cat", "dog"]
    with tfdump.open(path) as dump:
        assert dump.examples is not None
        assert dump.examples.name(2) == "dog/1.jpg"
        assert dump.examples.read(1, 3) == ["cat/ä.jpg", "dog/1.jpg"]
        assert len(dump.examples) == 5
        assert dump.examples.labels is not None
        assert dump.examples.labels.tolist() == [0, 0, 1, 1, 1]
        assert dump.examples.classes == ("cat", "dog")
        assert all(item.problem is None for item in dump.verify())
        assert list(dump) == ["d", "outputs/d"]


def test_names_are_those_of_the_examples_that_were_read(tmp_path: Path) -> None:
    with tfdump.open(dumped(tmp_path / "d.h5", NAMES, examples=(1, 4))) as dump:
        assert dump.examples is not None
        assert dump.examples.read(0, 9) == NAMES[1:4]
        assert dump.examples.labels is None


def test_names_need_not_be_utf_8(tmp_path: Path) -> None:
    with tfdump.open(dumped(tmp_path / "d.h5", [*NAMES[:4], b"\xff.jpg".decode("utf-8", "surrogateescape")])) as dump:
        assert dump.examples is not None
        assert dump.examples.read(3, 5) == ["dog/2.jpg", "\\xff.jpg"]


def test_a_dump_of_plain_arrays_does_not_tell(tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3, name="d")])
    assert list(tfdump.activations(model, np.ones((2, 2), np.float32))) == ["d"]


@pytest.mark.parametrize("damage", ["short", "numbers", "dataset", "labels", "classes", "class"])
def test_damaged_names_are_an_error(damage: str, tmp_path: Path) -> None:
    path = dumped(tmp_path / "d.h5", NAMES, ClassLabels(np.arange(5)))
    with h5py.File(path, "r+") as file:
        if damage == "dataset":
            del file["examples"]
            file["examples"] = 1
        elif damage == "labels":
            del file["examples/label"]
            file["examples/label"] = np.arange(4)
        elif damage == "classes":
            file["examples/classes"] = np.arange(4)
        elif damage == "class":
            file["examples/classes"] = "cat"
        else:
            del file["examples/id"]
            file["examples/id"] = np.arange(5) if damage == "numbers" else NAMES[:4]
    with tfdump.open(path) as dump, pytest.raises(DumpError, match=r"d\.h5: 'examples' is damaged"):
        _ = dump.examples
