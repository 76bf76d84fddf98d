"""What is done beside the model: statistics on every core, values in order, and failures carried to the main thread."""

from pathlib import Path

import h5py
import numpy as np
import pytest

from tfdump.batch_run import Worker
from tfdump.dump.writer import DumpWriter, storage_for
from tfdump.sinks import StoreOptions, TensorSink
from tfdump.tensors import TensorInfo

BATCHES, ROWS = 5, 8
SHAPES = [(3 + n % 7, 1 + n) for n in range(30)]


def values_of(number: int) -> np.ndarray:
    return np.random.default_rng(number).normal(size=(BATCHES * ROWS, *SHAPES[number])).astype("f4")


def write(path: Path, compression: str) -> None:
    """Write thirty tensors in five batches, with their statistics."""
    options = StoreOptions(statistics=True)
    with DumpWriter(path, storage=storage_for(compression, 1 << 10)) as writer:
        infos = [
            TensorInfo(f"t{n}", f"t{n}", "", ("Dense",), n, "float32", (-1, *shape)) for n, shape in enumerate(SHAPES)
        ]

        def open_collector(info: TensorInfo, value: np.ndarray, axis0: str) -> object:
            return writer.collector(info, value, axis0=axis0, examples=BATCHES * ROWS, batches=BATCHES)

        sinks = [TensorSink("activations", info, "example", options, open_collector) for info in infos]
        worker = Worker(sinks, writer.check)
        for start in range(0, BATCHES * ROWS, ROWS):
            worker.give([values_of(n)[start : start + ROWS] for n in range(len(SHAPES))], ROWS)
        worker.finish()
        for info, sink in zip(infos, sinks, strict=True):
            collector, extra = sink.finish()
            writer.link("activations", info, collector, extra)


@pytest.mark.parametrize("compression", ["none", "gzip", "zstd"])
def test_statistics_and_values_are_those_of_all_batches_and_the_bytes_repeat(tmp_path: Path, compression: str) -> None:
    for name in ("a.h5", "b.h5"):
        write(tmp_path / name, compression)
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()
    with h5py.File(tmp_path / "a.h5") as file:
        assert list(file["activations"]) == [f"t{n}" for n in range(len(SHAPES))]
        for number, found in enumerate(file["activations"].values()):
            expected = values_of(number)
            assert np.array_equal(found[()], expected)
            assert found.attrs["stat_count"] == expected.size
            assert found.attrs["stat_max"] == expected.max()
            assert found.attrs["stat_mean"] == pytest.approx(expected.mean(dtype="f8"), rel=1e-9, abs=1e-12)
            assert found.attrs["stat_std"] == pytest.approx(expected.std(dtype="f8"), rel=1e-9)


def test_what_fails_beside_the_model_is_raised_at_the_end() -> None:
    def open_collector(info: TensorInfo, value: np.ndarray, axis0: str) -> object:
        raise OSError(f"no room for {info.address}")

    info = TensorInfo("t", "t", "", ("Dense",), 0, "float32", (-1, 2))
    worker = Worker([TensorSink("activations", info, "example", StoreOptions(statistics=True), open_collector)], int)
    worker.give([np.ones((2, 2), "f4")], 2)
    with pytest.raises(OSError, match="no room for t"):
        worker.finish()
