"""A merged file has the bytes of one run, whatever the tensors are; where it cannot, merging is refused."""

import filecmp
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from support.sharded_runs import COUNTS, EXAMPLES, SIZE, Made, MadeRun, every_kind, named, widens
from tfdump.dump.shards.merge import merge_shards
from tfdump.errors import DumpError
from tfdump.run.options import store_options

DIVISIONS = {"three": (8, 16, 22), "each_batch": (4, 8, 12, 16, 20, 22), "one": (22,), "uneven": (4, 20, 22)}

ONES, WORDS = np.ones((4, 1), "f4"), np.full((4, 1), "a", object)

RUN = MadeRun([*every_kind(), widens()], EXAMPLES, SIZE)


def merged(run: MadeRun, folder: Path, bounds: Sequence[int]) -> tuple[Path, list[str], list[str]]:
    """Write one run and its shards, merge these; return the merged file, and the notes of the run and of merging."""
    notes: list[str] = []
    told = run.write(folder / "one.h5")
    merge_shards(run.write_shards(folder / "shards", bounds), folder / "merged.h5", note=notes.append)
    return folder / "merged.h5", told, notes


def same_bytes(folder: Path) -> bool:
    return filecmp.cmp(folder / "one.h5", folder / "merged.h5", shallow=False)


@pytest.mark.parametrize("bounds", DIVISIONS.values(), ids=DIVISIONS)
def test_the_bytes_are_those_of_one_run(tmp_path: Path, bounds: Sequence[int]) -> None:
    run = replace(RUN, names=named(), lengths={"x": np.arange(EXAMPLES)}, checksums=True)
    _, told, notes = merged(run, tmp_path, bounds)
    assert same_bytes(tmp_path)
    changes = [text for text in told if not text.startswith("stored as bytes")]
    assert notes == changes
    assert len(changes) == 6


@pytest.mark.parametrize(
    "options",
    [
        {"compression": "gzip", "store": store_options(stats=True)},
        {"store": store_options(stats="quantiles", stats_only=True)},
        {"store": store_options(dtype="float16", stats="quantiles")},
        {"store": store_options(reduce="mean", stats=True), "tensors": every_kind()},
        {"store": store_options(reduce="sum", dtype="float16"), "tensors": every_kind()},
    ],
    ids=["gzip", "stats_only", "dtype", "reduce", "reduce_dtype"],
)
def test_the_same_whatever_is_stored(tmp_path: Path, options: dict[str, Any]) -> None:
    merged(replace(RUN, **options), tmp_path, DIVISIONS["uneven"])
    assert same_bytes(tmp_path)


@pytest.mark.parametrize("tensor", [*every_kind(), widens()], ids=lambda tensor: tensor.name)
def test_the_same_for_a_tensor_by_itself(tmp_path: Path, tensor: Made) -> None:
    """Alone in its file, a tensor that is stored again leaves gaps that another tensor could have filled."""
    merged(replace(RUN, tensors=[tensor], store=store_options(stats="quantiles")), tmp_path, DIVISIONS["three"])
    assert same_bytes(tmp_path)


def test_large_tensors_fill_chunks_in_the_same_order(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    batches = [rng.normal(size=(16, width)).astype("f4") for width in (3000, 9000) for _ in range(6)]
    tensors = [Made(f"t{number}", batches[6 * number :][:6], shape=(-1, -1)) for number in range(2)]
    merged(MadeRun(tensors, 96, 16, checksums=True), tmp_path, (32, 48, 96))
    assert same_bytes(tmp_path)


def test_constants_that_agree_only_when_they_are_reduced_are_stacked(tmp_path: Path) -> None:
    """The largest value is the same in all batches, and the values are not: one run stores all batches."""
    low, other = np.array([[1, 9]], "f4"), np.array([[2, 9]], "f4")
    tensor = Made("table", [low] * 4 + [other] * 2, "none", shape=(1, 2))
    run = MadeRun([tensor], EXAMPLES, SIZE, store=store_options(reduce="max", stats="quantiles"))
    path, _, _ = merged(run, tmp_path, (16, 22))
    assert same_bytes(tmp_path)
    with h5py.File(path) as file:
        np.testing.assert_array_equal(file["activations/table"], np.full((6, 1), 9, "f4"))
        assert file["activations/table"].attrs["stat_count"] == 12
        assert file["activations/table"].attrs["quantile_counts"].tolist() == [4, 2, 6]  # of 1, 2 and 9


def test_results_that_do_not_fit_are_counted_in_every_batch_of_a_constant_that_varies(tmp_path: Path) -> None:
    large = np.full((1, 2), 2**62, "i8")
    tensor = Made("table", [large] * 3 + [large + 1] * 3, "none", "int64", (1, 2))
    path, _, _ = merged(MadeRun([tensor], EXAMPLES, SIZE, store=store_options(reduce="sum")), tmp_path, (8, 22))
    assert same_bytes(tmp_path)
    with h5py.File(path) as file:
        assert file["activations/table"].attrs["overflowed"] == 6


def test_a_padded_run(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = Made("rows", [rng.normal(size=(4, 3)).astype("f4") for _ in COUNTS], shape=(-1, 3))
    mixed = Made("mixed", [rng.normal(size=3).astype("f4") for _ in COUNTS], "batch", shape=(3,))
    run = MadeRun([rows, mixed], EXAMPLES, SIZE, fixed=4, depends_on_batch=("mixed",), store=store_options(stats=True))
    path, _, _ = merged(run, tmp_path, (8, 22))
    assert same_bytes(tmp_path)
    with h5py.File(path) as file:
        assert file["activations/mixed"].attrs["padding"] == file.attrs["padding"] == 2


def test_rows_of_copies_that_no_shard_has_are_missed(tmp_path: Path) -> None:
    """After a departure, one run stores the rows of the copies too, and the last shard did not know of it."""
    rows = [np.ones((5 if batch == 1 else 4, 3), "f4") for batch in range(6)]
    run = MadeRun([Made("rows", rows, shape=(-1, 3))], EXAMPLES, SIZE, fixed=4)
    run.write_shards(tmp_path / "shards", (8, 22))
    with pytest.raises(DumpError, match=r"'rows' cannot be joined: the last batch of the run is padded.* -x 'rows'"):
        merge_shards(tmp_path / "shards", tmp_path / "merged.h5")
    assert not (tmp_path / "merged.h5").exists()


@pytest.mark.parametrize(
    ("batches", "reason"),
    [
        ([ONES] * 3 + [None] + [ONES] * 2, "given by 5 of 6 batches"),
        ([ONES] * 4 + [WORDS] * 2, "its dtype changes from float32 to string in batch 5"),
        ([ONES] * 3 + [WORDS] * 3, "its dtype changes from float32 to string in batch 4"),
    ],
    ids=["missing", "lost_between", "lost_inside"],
)  # fmt: skip
def test_what_one_run_could_not_store_is_refused_and_not_captured(tmp_path: Path, batches: Any, reason: str) -> None:
    run = MadeRun([Made("odd", batches, shape=(-1, 1)), *every_kind()[:1]], EXAMPLES, SIZE)
    told = run.write(tmp_path / "one.h5")
    assert any(reason in text for text in told)
    folder = run.write_shards(tmp_path / "shards", (8, 16, 22))
    with pytest.raises(DumpError, match=rf"'odd' could not be stored as a whole \({reason}.*leave it out"):
        merge_shards(folder, tmp_path / "merged.h5")


def test_an_existing_file_is_kept_unless_forced(tmp_path: Path) -> None:
    run = replace(RUN, tensors=every_kind()[:2])
    folder = run.write_shards(tmp_path / "shards", (8, 22))
    (tmp_path / "merged.h5").write_text("kept")
    with pytest.raises(DumpError, match="exists"):
        merge_shards(folder, tmp_path / "merged.h5")
    assert (tmp_path / "merged.h5").read_text() == "kept"
    run.write(tmp_path / "one.h5")
    merge_shards(folder, tmp_path / "merged.h5", force=True)
    assert same_bytes(tmp_path)
    shard = next(folder.glob("shard-*.h5"))
    with pytest.raises(DumpError, match="is the file that the dump is made from"):
        merge_shards(folder, shard, force=True)


def test_the_progress_counts_examples(tmp_path: Path) -> None:
    run = replace(RUN, tensors=every_kind()[:2])
    seen: list[tuple[int, int]] = []
    folder = run.write_shards(tmp_path / "shards", (8, 22))
    merge_shards(folder, tmp_path / "merged.h5", progress=lambda *numbers: seen.append(numbers))
    assert seen == [(0, 22), (4, 22), (8, 22), (12, 22), (16, 22), (20, 22), (22, 22)]


def test_an_interruption_leaves_no_file(tmp_path: Path) -> None:
    def interrupt(done: int, total: int) -> None:
        if done >= 8:
            raise KeyboardInterrupt

    folder = replace(RUN, tensors=every_kind()[:2]).write_shards(tmp_path / "shards", (8, 22))
    with pytest.raises(KeyboardInterrupt):
        merge_shards(folder, tmp_path / "merged.h5", progress=interrupt)
    assert [path.name for path in tmp_path.iterdir()] == ["shards"]


def test_a_folder_without_a_manifest_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DumpError, match=r"is no folder of shards: it has no manifest.json .*--shards"):
        merge_shards(tmp_path, tmp_path / "merged.h5")
    with pytest.raises(DumpError, match="nowhere"):
        merge_shards(tmp_path / "nowhere", tmp_path / "merged.h5")


def test_a_moved_folder_merges_to_the_same_bytes(tmp_path: Path) -> None:
    run = replace(RUN, tensors=every_kind()[:2])
    run.write(tmp_path / "one.h5")
    shutil.move(run.write_shards(tmp_path / "shards", (8, 22)), tmp_path / "elsewhere")
    merge_shards(tmp_path / "elsewhere", tmp_path / "merged.h5")
    assert same_bytes(tmp_path)
