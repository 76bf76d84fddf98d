"""Two models on rows with names: differences name their example, and a dump has to be of the same ones."""

from pathlib import Path

import keras
import numpy as np
import pytest

from support.named_rows import NamedRows
from tfdump.address import Selection
from tfdump.comparison.options import DiffOptions
from tfdump.comparison.verdict import DiffReport
from tfdump.errors import DumpError
from tfdump.inputs.input_array import InputArray
from tfdump.inputs.source import ReadingOptions
from tfdump.model.loading.load import in_memory
from tfdump.run.activations.options import activation_options
from tfdump.run.activations.run import open_activations
from tfdump.run.options import RunOptions
from tfdump.side_by_side.opening import open_sides
from tfdump.side_by_side.options import DumpToCompare, ModelToCompare, SideBySideOptions, SideToCompare

pytestmark = pytest.mark.tensorflow

NAMES = [f"photo {number}.jpg" for number in range(9)]
X = np.random.default_rng(0).normal(size=(9, 2)).astype(np.float32)
X[7] = 100  # the largest error is here, in the third batch of 3


def model(factor: float) -> keras.Model:
    """A dense layer with a kernel of its own."""
    keras.utils.clear_session()
    made = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3, name="d")])
    made.layers[0].set_weights([np.arange(1, 7.0).reshape(2, 3) * factor, np.array([0.5, 0.25, -1])])
    return made


def rows(names: list[str] | None, x: np.ndarray = X) -> list[InputArray]:
    if names is None:
        from tfdump.inputs.readers import ArrayReader

        return [InputArray(None, ArrayReader(x, "x"))]
    return [InputArray(None, NamedRows(x, names))]


def dumped(path: Path, names: list[str] | None) -> Path:
    options = activation_options(Selection((), (), None), RunOptions(batch_size=3), outputs=True)
    with (
        open_activations(in_memory(model(1)), rows(names), options, lambda text: None) as run,
        run.open_writer(path, force=False) as writer,
    ):
        run.write(writer, "a test")
    return path


def compared(
    golden: SideToCompare,
    arrays: list[InputArray],
    examples: tuple[int | None, int | None] = (None, None),
    ignore_ids: bool = False,
) -> DiffReport:
    new = ModelToCompare("new", lambda: in_memory(model(1.1)))
    running = SideBySideOptions(ReadingOptions(examples=examples), RunOptions(batch_size=3), ignore_ids=ignore_ids)
    with open_sides(golden, new, arrays, running, lambda text: None) as sides:
        return sides.compare(DiffOptions(ignore_ids=ignore_ids))


def worst(report: DiffReport) -> tuple[str | None, tuple[int, ...] | None]:
    """The name and the index of the worst element of the dense layer."""
    tensor = next(tensor for tensor in report.tensors if tensor.name == "activations/d")
    assert tensor.comparison is not None
    return tensor.example_id, tensor.comparison.index


GOLDEN = ModelToCompare("golden", lambda: in_memory(model(1)))


def test_a_difference_of_two_models_names_its_example() -> None:
    assert worst(compared(GOLDEN, rows(NAMES))) == ("photo 7.jpg", (7, 2))
    assert worst(compared(GOLDEN, rows(NAMES), (5, 9))) == ("photo 7.jpg", (2, 2))
    assert worst(compared(GOLDEN, rows(None))) == (None, (7, 2))


def test_a_dump_names_the_examples_of_an_array(tmp_path: Path) -> None:
    dump = DumpToCompare(dumped(tmp_path / "g.h5", NAMES))
    assert worst(compared(dump, rows(None))) == ("photo 7.jpg", (7, 2))
    assert worst(compared(dump, rows(None), (6, 9))) == ("photo 7.jpg", (1, 2))
    assert worst(compared(dump, rows(NAMES))) == ("photo 7.jpg", (7, 2))


def test_a_dump_of_other_examples_is_refused(tmp_path: Path) -> None:
    """The numbers of the first 8 are the same, and so their hash."""
    dump = DumpToCompare(dumped(tmp_path / "g.h5", NAMES))
    with pytest.raises(
        DumpError, match=r"other examples: example 8 is 'photo 8\.jpg' there and 'x\.jpg' in the inputs"
    ):
        compared(dump, rows([*NAMES[:8], "x.jpg"]))
    assert worst(compared(dump, rows([*NAMES[:8], "x.jpg"]), ignore_ids=True)) == ("photo 7.jpg", (7, 2))


def test_names_tell_the_examples_of_a_dump_without_hashes(tmp_path: Path) -> None:
    import h5py

    path = dumped(tmp_path / "g.h5", NAMES)
    with h5py.File(path, "r+") as file:
        del file.attrs["inputs_sha256"]
    assert worst(compared(DumpToCompare(path), rows(NAMES))) == ("photo 7.jpg", (7, 2))
    with pytest.raises(DumpError, match="does not tell with which inputs it was made"):
        compared(DumpToCompare(path), rows(None))


def test_bytes_in_names_are_the_same_in_a_dump_and_in_a_folder(tmp_path: Path) -> None:
    names = [*NAMES[:8], b"\xff.jpg".decode("utf-8", "surrogateescape")]
    assert worst(compared(DumpToCompare(dumped(tmp_path / "g.h5", names)), rows(names)))[0] == "photo 7.jpg"
