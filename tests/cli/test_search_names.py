"""`--until-nan` says which file the bad example is: the command, on rows with names."""

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

from support.named_rows import NamedRows
from tfdump.address import Selection
from tfdump.cli.dumping import DumpOutput, search_model
from tfdump.cli.verbosity import Verbosity
from tfdump.inputs.input_array import InputArray
from tfdump.inputs.source import ReadingOptions
from tfdump.model.loading.options import LoadingOptions
from tfdump.run.activations.options import activation_options
from tfdump.run.activations.run import ActivationRun, open_activations
from tfdump.run.options import RunOptions

pytestmark = pytest.mark.tensorflow

NAMES = [f"photo {number}.jpg" for number in range(8)]


@pytest.fixture
def search(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Any:
    """Search a model over 8 rows, of which number 5 is negative; return the status and the lines on stderr."""
    monkeypatch.chdir(tmp_path)

    def run(make: Any, select: tuple[str, ...] = (), reduce: str | None = None) -> tuple[int, list[str]]:
        keras.utils.clear_session()
        x = keras.Input((2,), name="x")
        keras.Model(x, make(x)).save(tmp_path / "m.keras")
        values = np.ones((8, 2), np.float32)
        values[5, 1] = -1
        options = activation_options(
            Selection(select, (), None), RunOptions(batch_size=3), until_nan=True, reduce=reduce,
            reading=ReadingOptions(examples=(1, None)),
        )  # fmt: skip

        def open_run(loaded: Any, note: Any, stage: Any) -> AbstractContextManager[ActivationRun]:
            return open_activations(loaded, [InputArray(None, NamedRows(values, NAMES))], options, note, stage)

        output = DumpOutput(tmp_path / "d.h5", force=True, dry_run=False, resume=False)
        verbosity = Verbosity(False, False)
        status = search_model(LoadingOptions(tmp_path / "m.keras"), open_run, output, "a test", verbosity, 0)
        return status, capsys.readouterr().err.splitlines()

    return run


def logarithm(x: Any) -> Any:
    return ops.log(x)


def test_the_layer_that_makes_it(search: Any) -> None:
    status, lines = search(logarithm)
    assert status == 1
    assert lines[-1] == "NaN starts in 'log' (Log), example 5 (photo 5.jpg): its input 'inputs/x' is -1 there"


def test_a_reduction_hides_the_place_and_not_the_example(search: Any) -> None:
    """Row 5 holds -inf and 1, of which the dump stores the largest."""
    status, lines = search(lambda x: ops.where(x < 0, -np.inf, x), reduce="max:1")
    assert status == 1
    assert lines[-1].startswith("NaN or Inf is in '")
    assert lines[-1].endswith("' (example 5, photo 5.jpg)")


def test_a_whole_batch_tells_its_first_and_its_last_example(search: Any) -> None:
    status, lines = search(lambda x: ops.log(ops.min(x, axis=0)))
    assert status == 1
    assert any("the first one of examples 4 to 6 (photo 4.jpg to photo 6.jpg)" in line for line in lines)
