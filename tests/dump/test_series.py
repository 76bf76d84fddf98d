"""A folder of dumps is in the order of training, whatever the names are."""

from pathlib import Path

import numpy as np
import pytest

from support.dump_folders import write_dump
from tfdump.dump.series import locate, open_series
from tfdump.errors import DumpError

DENSE = {"dense": np.arange(6, dtype=np.float32).reshape(2, 3)}


def names_of(folder: Path) -> list[str]:
    return [dump.path.name for dump in open_series(folder).dumps]


def test_epochs_are_in_order_beyond_the_width_of_their_names(tmp_path: Path) -> None:
    for epoch in (10_000, 9999, 2):
        write_dump(tmp_path / f"epoch-{epoch:04d}.activations.h5", DENSE, epoch=epoch, batch=3 * epoch)
    series = open_series(tmp_path)
    assert [(dump.number, dump.epoch, dump.batch) for dump in series.dumps] == [
        (2, 2, 6), (9999, 9999, 29_997), (10_000, 10_000, 30_000)
    ]  # fmt: skip
    assert series.axis == "epoch"
    assert series.skipped == ()


def test_dumps_of_epochs_and_of_batches_are_ordered_by_the_batches(tmp_path: Path) -> None:
    write_dump(tmp_path / "epoch-0001.activations.h5", DENSE, epoch=1, batch=10)
    write_dump(tmp_path / "batch-000012.activations.h5", DENSE, epoch=2, batch=12, interval="batch")
    write_dump(tmp_path / "batch-000006.activations.h5", DENSE, epoch=1, batch=6, interval="batch")
    series = open_series(tmp_path)
    assert series.axis == "batch"
    assert [dump.number for dump in series.dumps] == [6, 10, 12]


def test_a_batch_counted_anew_comes_after_the_epochs_before_it(tmp_path: Path) -> None:
    write_dump(tmp_path / "a.h5", DENSE, epoch=2, batch=20, interval="batch")
    write_dump(tmp_path / "b.h5", DENSE, epoch=3, batch=4, interval="batch")
    series = open_series(tmp_path)
    assert [dump.path.name for dump in series.dumps] == ["a.h5", "b.h5"]
    assert (series.axis, [dump.number for dump in series.dumps]) == ("dump", [1, 2])


def test_dumps_of_saved_models_are_ordered_by_the_numbers_in_their_names(tmp_path: Path) -> None:
    for name in ("step-10.h5", "step-9.h5", "step-100.hdf5"):
        write_dump(tmp_path / name, DENSE)
    series = open_series(tmp_path)
    assert [dump.path.name for dump in series.dumps] == ["step-9.h5", "step-10.h5", "step-100.hdf5"]
    assert (series.axis, [dump.number for dump in series.dumps]) == ("number", [9, 10, 100])


@pytest.mark.parametrize("names", [("a.h5", "b.h5"), ("a1.h5", "b1.h5"), ("a2.h5", "b1.h5"), ("1.h5", "x.h5")])
def test_names_without_numbers_that_rise_count_from_one(tmp_path: Path, names: tuple[str, str]) -> None:
    for name in names:
        write_dump(tmp_path / name, DENSE)
    series = open_series(tmp_path)
    assert (series.axis, [dump.number for dump in series.dumps]) == ("dump", [1, 2])


def test_one_dump_that_tells_no_epoch_makes_the_names_decide(tmp_path: Path) -> None:
    write_dump(tmp_path / "epoch-0002.h5", DENSE, epoch=1, batch=1)
    write_dump(tmp_path / "epoch-0001.h5", DENSE)
    assert names_of(tmp_path) == ["epoch-0001.h5", "epoch-0002.h5"]


def test_what_is_no_dump_is_named_and_what_has_another_suffix_is_not_looked_at(tmp_path: Path) -> None:
    write_dump(tmp_path / "a.h5", DENSE)
    (tmp_path / "weights.h5").write_bytes(b"no HDF5")
    (tmp_path / "b.h5.x1.partial").write_bytes(b"half")
    (tmp_path / "inner.h5").mkdir()
    (tmp_path / "gone.h5").symlink_to(tmp_path / "nowhere")
    series = open_series(tmp_path)
    assert [dump.path.name for dump in series.dumps] == ["a.h5"]
    assert [skipped.path.name for skipped in series.skipped] == ["gone.h5", "weights.h5"]
    assert "not an HDF5 file" in series.skipped[1].reason


@pytest.mark.parametrize("content", [[], ["weights.h5"], ["a.h5", "b.h5"]])
def test_a_folder_without_dumps_is_refused(tmp_path: Path, content: list[str]) -> None:
    for name in content:
        (tmp_path / name).write_bytes(b"no")
    with pytest.raises(DumpError, match=r"has no dumps among its \.h5 and \.hdf5 files"):
        open_series(tmp_path)


def test_what_is_no_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DumpError, match="no such folder"):
        open_series(tmp_path / "nothing")
    write_dump(tmp_path / "a.h5", DENSE)
    with pytest.raises(DumpError, match="cannot read the folder"):
        open_series(tmp_path / "a.h5")


def test_a_tensor_is_found_in_the_dumps_that_have_it(tmp_path: Path) -> None:
    for epoch, tensors in ((1, DENSE), (2, {"other": DENSE["dense"]}), (3, DENSE)):
        write_dump(tmp_path / f"{epoch}.h5", tensors, epoch=epoch, batch=epoch)
    write_dump(tmp_path / "g.h5", DENSE, epoch=3, batch=3, group="gradients/activations")
    series = open_series(tmp_path)
    located = locate(series, "dense")
    assert located.name == "activations/dense"
    assert [dump.path.name for dump in located.dumps] == ["1.h5", "3.h5"]
    assert [dump.path.name for dump in located.without] == ["2.h5"]
    gradient = locate(series, "gradients/activations/dense")
    assert [dump.path.name for dump in gradient.dumps] == ["g.h5"]
    assert gradient.without == ()
    assert [dump.path.name for dump in series.of_kind("gradients")] == ["g.h5"]
    with pytest.raises(DumpError, match=r"no dump in .* has a tensor 'densee'; near: 'dense'"):
        locate(series, "densee")


def test_more_dumps_than_a_process_may_open_files(tmp_path: Path) -> None:
    import resource

    for epoch in range(1, 31):
        write_dump(tmp_path / f"epoch-{epoch:04d}.h5", DENSE, epoch=epoch, batch=epoch)
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    open_now = len(list(Path("/proc/self/fd").iterdir()))
    resource.setrlimit(resource.RLIMIT_NOFILE, (open_now + 10, before[1]))
    try:
        assert len(locate(open_series(tmp_path), "dense").dumps) == 30
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
