"""Models in a process of their own that has TensorFlow too: every tensor as an eager run in this process gives it."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from support.backend_models import MODELS, BackendRun, run_file, run_here, saved
from tfdump.model.backends.options import Backend
from tfdump.model.backends.process import BackendProcess


@pytest.fixture(scope="module")
def process() -> Iterator[BackendProcess]:
    process = BackendProcess(Backend("tensorflow", sys.executable))
    process.ask("start", backend="tensorflow", seed=0)
    yield process
    process.close()


def missing(run: BackendRun) -> list[str]:
    """What was not captured; automatic names count the layers that the process has built."""
    return [re.sub(r"_\d+$", "", item.address) for item in run.not_captured]


@pytest.mark.tensorflow
@pytest.mark.parametrize("name", MODELS)
def test_every_tensor_is_that_of_an_eager_run(process: BackendProcess, name: str, tmp_path: Path) -> None:
    path, x = saved(name, tmp_path)
    elsewhere, here = run_file(process, path, x), run_here(path, x)
    assert elsewhere.infos == here.infos
    assert list(elsewhere.infos) == list(here.infos)
    for key, value in here.values.items():
        assert elsewhere.values[key].dtype == value.dtype
        np.testing.assert_array_equal(elsewhere.values[key].astype(value.dtype), value, str(key))
    assert missing(elsewhere) == missing(here)
