"""NaN and Inf: how many, where first, in every kind of tensor; and where they begin."""

from pathlib import Path
from typing import Any

import h5py
import ml_dtypes
import numpy as np
import pytest

import tfdump
from support.check_dumps import normal, of, the, write_dump
from tfdump.checks import CheckReport
from tfdump.dump.writer import DumpWriter
from tfdump.tensors import Ragged, Sparse, TensorInfo, Value


def check(path: Path, **options: Any) -> CheckReport:
    return tfdump.check(path, **options)


def written(path: Path, batches: list[Value], dtype: str, axis0: str) -> Path:
    """A dump of one tensor, made by the writer."""
    record = TensorInfo("t", "t", "t", ("Dense",), 0, dtype, None)
    examples = sum(batch.shape[0] for batch in batches) if axis0 == "example" else 0
    with DumpWriter(path) as writer:
        collector = writer.collector(record, batches[0], axis0=axis0, examples=examples, batches=len(batches))
        for batch in batches:
            collector.append(batch)
        writer.link("activations", record, collector, {})
        writer.describe({"format": "tfdump", "format_version": 1, "kind": "activations"}, None, ())
    return path


def test_a_clean_dump_passes(tmp_path: Path) -> None:
    report = check(write_dump(tmp_path / "d.h5", {"activations/a": normal(4, 3)}))
    assert not report.failed
    assert (of(report, "nan"), of(report, "inf"), report.origins) == ([], [], ())


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", ">f4", "complex64"])
def test_the_count_and_the_first_are_those_of_the_whole_array(tmp_path: Path, dtype: str) -> None:
    values = normal(50, 7, 11).astype(dtype)
    bad = np.random.default_rng(1).random(values.shape) < 0.01
    values[bad] = np.nan
    values[30, 2, 5:8] = [np.inf, -np.inf, np.inf]
    report = check(write_dump(tmp_path / "d.h5", {"activations/a": values}, first_example=100))
    for name, mask in (("nan", np.isnan(values)), ("inf", np.isinf(values))):
        finding = the(report, name)
        first = tuple(np.argwhere(mask)[0].tolist())
        assert (finding.count, finding.of, finding.index) == (mask.sum(), values.size, first)
        assert finding.example == 100 + first[0]
        assert not np.isfinite(finding.value)
    assert report.failed


def test_blocks_and_rows_larger_than_a_block_are_counted_through(tmp_path: Path) -> None:
    values = np.zeros((3, 5, 700_001), np.float32)  # a row is 14 MB
    values[1, 4, -1] = values[2, 0, 0] = values[2, 3, 400_000] = np.nan
    finding = the(check(write_dump(tmp_path / "d.h5", {"activations/a": values})), "nan")
    assert (finding.count, finding.of, finding.index) == (3, values.size, (1, 4, 700_000))


@pytest.mark.parametrize(
    ("axis0", "shape", "index", "example"),
    [("none", (3, 4), (2, 1), None), ("batch", (2, 5, 3), (1, 4, 2), None), ("step", (4, 3), (3, 0), None),
     ("none", (), (), None), ("example", (6,), (4,), 4)],
)  # fmt: skip
def test_every_kind_of_first_axis(
    tmp_path: Path, axis0: str, shape: tuple[int, ...], index: tuple[int, ...], example: int | None
) -> None:
    values = np.ones(shape, np.float32)
    values[index] = np.nan
    finding = the(check(write_dump(tmp_path / "d.h5", {"activations/a": (values, {"axis0": axis0})})), "nan")
    assert (finding.count, finding.index, finding.example) == (1, index, example)


def test_bfloat16_keeps_its_nan(tmp_path: Path) -> None:
    values = np.array([[1, np.nan], [np.inf, 2]], ml_dtypes.bfloat16)
    report = check(written(tmp_path / "d.h5", [values], "bfloat16", "example"))
    assert (the(report, "nan").index, the(report, "inf").index) == ((0, 1), (1, 0))


def test_tensors_without_floats_have_none(tmp_path: Path) -> None:
    tensors = {
        "activations/text": np.array(["a", "nan"], dtype=object),
        "activations/flags": np.array([[True, False]]),
        "activations/ids": np.arange(6).reshape(3, 2),
        "activations/small": np.arange(6, dtype=np.uint8).reshape(3, 2),
        "activations/nothing": np.zeros((0, 4), np.float32),
        "activations/empty": np.zeros((3, 0, 4), np.float32),
    }
    report = check(write_dump(tmp_path / "d.h5", tensors))
    assert report.findings == ()
    assert [(t.tensor, t.reason) for t in report.tensors if t.reason] == [
        ("activations/text", "it is string and has no numbers")
    ]


def test_a_place_in_a_ragged_tensor_is_that_of_its_rows(tmp_path: Path) -> None:
    first = Ragged(normal(5, 2), (np.array([0, 2, 2, 5]),))
    values = normal(4, 2)
    values[2, 1] = np.nan  # row 4 of all (1 of the batch), position 0
    report = check(written(tmp_path / "d.h5", [first, Ragged(values, (np.array([0, 2, 4]),))], "float32", "example"))
    finding = the(report, "nan")
    assert (finding.count, finding.of, finding.index, finding.example) == (1, 18, (4, 0, 1), 4)


def test_a_place_in_a_tensor_of_two_ragged_axes(tmp_path: Path) -> None:
    rows = [[[0.0], [1.0, 2.0]], [], [[3.0, np.nan, 5.0]]]
    flat = np.array([v for row in rows for inner in row for v in inner], np.float32)
    ragged = Ragged(flat, (np.array([0, 2, 2, 3]), np.array([0, 1, 3, 6])))
    finding = the(check(written(tmp_path / "d.h5", [ragged], "float32", "example")), "nan")
    assert finding.index == (2, 0, 1)
    assert np.isnan(rows[2][0][1])


def test_a_place_in_a_sparse_tensor_is_that_of_the_dense_one(tmp_path: Path) -> None:
    dense = np.zeros((4, 6), np.float32)
    dense[1, 2], dense[3, 5] = 7, np.inf
    indices = np.argwhere(dense != 0)
    sparse = Sparse(dense[tuple(indices.T)], indices, dense.shape)
    finding = the(check(written(tmp_path / "d.h5", [sparse], "float32", "example")), "inf")
    assert (finding.index, finding.example, finding.of) == ((3, 5), 3, 2)


def test_a_place_in_a_stack_names_the_item(tmp_path: Path) -> None:
    second = normal(3, 2)
    second[2, 0] = np.nan
    report = check(written(tmp_path / "d.h5", [normal(2, 2), second, normal(1, 5)], "float32", "batch"))
    finding = the(report, "nan")
    assert (finding.index, finding.of, finding.example) == ((1, 2, 0), 4 + 6 + 5, None)
    reasons = {item.check: item.reason for item in report.skipped}
    assert reasons["constant"] == reasons["dead"] == "its batches have unequal shapes"


# Storing in a narrow dtype


def test_infinities_that_storing_made_are_no_inf(tmp_path: Path) -> None:
    values = np.array([[1e6, 2.0], [np.inf, -1e9]])
    stored = {"stored_as": "float16", "dtype": "float32", "overflowed": 2}
    with np.errstate(over="ignore"):
        narrow = values.astype(np.float16)
    report = check(write_dump(tmp_path / "d.h5", {"activations/a": (narrow, stored)}))
    assert (the(report, "inf").count, the(report, "float16-overflow").count) == (1, 2)
    report = check(write_dump(tmp_path / "e.h5", {"activations/a": (narrow[:1], stored | {"overflowed": 1})}))
    assert (of(report, "inf"), report.failed) == ([], False)
    assert "became so when they were stored as float16" in the(report, "float16-overflow").message


# Only statistics


def without_values(**statistics: float) -> tuple[np.ndarray, dict[str, Any]]:
    """A tensor (20, 3) of which these statistics were kept, and no values."""
    attributes = {f"stat_{name}": value for name, value in (statistics | {"count": 60}).items()}
    return np.zeros((0, 3), np.float32), {"values": False, "computed_shape": [20, 3]} | attributes


def test_statistics_tell_of_nan_without_values(tmp_path: Path) -> None:
    empty = without_values(min=0.0, max=7e4, nan=4, inf=0, zero=5)
    report = check(write_dump(tmp_path / "d.h5", {"activations/a": empty}))
    finding = the(report, "nan")
    assert (finding.count, finding.of, finding.example, finding.index) == (4, 60, None, None)
    overflow = the(report, "float16-overflow")
    assert (overflow.count, overflow.message) == (None, "some of 60 values would be infinite in float16")
    skipped = {item.check: item.reason for item in report.skipped}
    assert set(skipped) == {"dead", "saturated", "constant", "float16-underflow", "bfloat16-underflow"}
    assert skipped["dead"] == "only its statistics are in the dump"
    assert report.origins[0].message == "NaN first appears in 'a'; everything before it is clean"


@pytest.mark.parametrize(("few", "many"), [(0.0, 0.0), (2.5, 2.5)])
def test_statistics_tell_of_tensors_that_are_the_same_everywhere(tmp_path: Path, few: float, many: float) -> None:
    zero = 60 if few == 0 else 0
    empty = without_values(min=few, max=many, nan=0, inf=0, zero=zero)
    report = check(write_dump(tmp_path / "d.h5", {"activations/a": empty}))
    assert the(report, "constant").value == few
    assert [finding.units for finding in of(report, "dead")] == ([(0, 1, 2)] if zero else [])


def test_magnitudes_do_not_tell_whether_complex_numbers_are_constant(tmp_path: Path) -> None:
    empty, further = without_values(min=1.0, max=1.0, nan=0, inf=0, zero=0)
    tensors = {"activations/a": (empty.astype(np.complex64), further | {"dtype": "complex64"})}
    assert of(check(write_dump(tmp_path / "d.h5", tensors)), "constant") == []


def test_a_gradient_without_norm_and_values_is_named(tmp_path: Path) -> None:
    tensors = {"gradients/weights/k": without_values(min=0.0, max=1.0, nan=0, inf=0, zero=0)}
    reasons = {item.check: item.reason for item in check(write_dump(tmp_path / "d.h5", tensors)).skipped}
    assert reasons["vanishing"] == reasons["exploding"] == "its norm is not in the dump"


def test_reduced_tensors_keep_what_a_reduction_keeps(tmp_path: Path) -> None:
    values = np.abs(normal(20, 4)) + 1
    values[:, 2] = 0
    values[5, 1] = np.nan
    further = {"class": "ReLU", "reduce": "mean:spatial", "shape": [-1, 8, 8, 4]}
    report = check(write_dump(tmp_path / "d.h5", {"activations/a": (values, further)}))
    assert (the(report, "nan").index, the(report, "dead").units) == ((5, 1), (2,))
    assert {item.check for item in report.skipped} == {
        "float16-overflow", "float16-underflow", "bfloat16-overflow", "bfloat16-underflow",
    }  # fmt: skip
    report = check(write_dump(tmp_path / "e.h5", {"activations/a": (values, further | {"reduce": "min:spatial"})}))
    assert "dead" in {item.check for item in report.skipped}
    assert of(report, "dead") == []


# Where it begins


def faulty(rows: dict[int, float], shape: tuple[int, int] = (20, 3)) -> np.ndarray:
    values = normal(*shape)
    for row, value in rows.items():
        values[row, 1] = value
    return values


def messages(report: CheckReport) -> list[str]:
    return [origin.message for origin in report.origins]


def test_the_origin_is_the_first_bad_tensor_in_the_order_of_execution(tmp_path: Path) -> None:
    tensors = {
        "activations/c": (faulty({17: np.nan, 18: np.nan}), {"order": 2}),
        "activations/a": (faulty({}), {"order": 0}),
        "activations/b": (faulty({17: np.nan}), {"order": 1}),
        "outputs/c": (faulty({17: np.nan}), {"order": 3}),
    }
    path = write_dump(tmp_path / "d.h5", tensors)
    report = check(path)
    assert messages(report) == ["NaN first appears in 'b' (example 17); everything before it is clean"]
    assert (report.origins[0].tensor, report.origins[0].index) == ("activations/b", (17, 1))
    assert messages(check(path, layers=["a", "c"])) == [
        "NaN first appears in 'c' (example 17); everything selected before it is clean"
    ]


def test_an_inf_that_becomes_nan_is_named(tmp_path: Path) -> None:
    tensors = {"activations/a": faulty({3: np.inf}), "activations/b": faulty({3: np.nan})}
    assert messages(check(write_dump(tmp_path / "d.h5", tensors))) == [
        "NaN first appears in 'b' (example 3), after Inf in 'a' (example 3)",
        "Inf first appears in 'a' (example 3); everything before it is clean",
    ]


def test_a_bad_input_is_an_origin_of_its_own(tmp_path: Path) -> None:
    tensors = {
        "activations/a": faulty({}),
        "activations/b": faulty({2: np.nan, 9: np.nan}),
        "inputs/image": (faulty({9: np.nan}), {"class": "InputLayer"}),
    }
    assert messages(check(write_dump(tmp_path / "d.h5", tensors))) == [
        "NaN is in the input itself: 'inputs/image' (example 9)",
        "NaN first appears in 'b' (example 2), after NaN in 'inputs/image' (example 9)",
    ]


def test_gradients_begin_at_the_loss(tmp_path: Path) -> None:
    bad, good, whole = faulty({4: np.nan}), faulty({}), {"axis0": "none"}
    tensors = {
        "gradients/weights/one.kernel": (bad, whole | {"layer": "one"}),
        "gradients/weights/two.kernel": (bad, whole | {"layer": "two"}),
        "gradients/weights/three.kernel": (good, whole | {"layer": "three"}),
        "gradients/activations/one": (bad, {"layer": "one", "order": 0}),
        "gradients/activations/two": (bad, {"layer": "two", "order": 1}),
        "gradients/activations/three": (good, {"layer": "three", "order": 2}),
        "gradients/inputs/x": bad,
    }
    report = check(write_dump(tmp_path / "d.h5", tensors, loss=0.5))
    text = "NaN first appears in 'gradients/activations/two' (example 4); everything nearer to the loss is clean"
    assert messages(report) == [text]
    report = check(tmp_path / "d.h5", layers="gradients/weights/*")
    assert messages(report) == [
        "NaN first appears in 'gradients/weights/two.kernel'; everything selected nearer to the loss is clean"
    ]


@pytest.mark.parametrize(("loss", "index", "example"), [(np.nan, (), None), ([1.0, np.nan], (1,), 41)])
def test_a_bad_loss_is_made_by_the_forward_pass(
    tmp_path: Path, loss: object, index: tuple[int, ...], example: int | None
) -> None:
    tensors = {"gradients/weights/one.kernel": (faulty({4: np.nan}), {"axis0": "none"})}
    root = {"per_example": True, "first_example": 40} if example else {}
    report = check(write_dump(tmp_path / "d.h5", tensors, loss=loss, **root))
    where = f"'loss'{f' (example {example})' if example else ''}"
    assert messages(report) == [
        f"NaN first appears in {where}: the forward pass made it (tfdump activations shows where)"
    ]
    assert (report.findings[0].tensor, report.findings[0].index) == ("loss", index)


def test_of_several_steps_the_first_bad_one_is_the_origin(tmp_path: Path) -> None:
    step = {"axis0": "step"}
    kernel, bias, moved = np.ones((4, 5)), np.ones((4, 5)), np.ones((4, 5))
    kernel[1, 2], bias[1:, 0], moved[2:] = np.nan, np.nan, np.nan
    tensors = {
        "gradients/weights/a.kernel": (kernel, step | {"layer": "a"}),
        "gradients/weights/a.bias": (bias, step | {"layer": "a"}),
        "weights/a.kernel": (moved, step | {"layer": "a"}),
    }
    report = check(write_dump(tmp_path / "d.h5", tensors, loss=[1.0, np.inf, np.nan, np.nan]))
    assert messages(report) == [
        "NaN first appears in 'gradients/weights/a.bias' (step 1), after Inf in 'loss' (step 1)",
        "Inf first appears in 'loss' (step 1); everything before it is clean",
    ]


def test_compressed_dumps_are_read(tmp_path: Path) -> None:
    path = write_dump(tmp_path / "d.h5", {"activations/a": normal(3, 3)})
    with h5py.File(path, "a") as file:
        values = faulty({7: np.inf})
        dataset = file.create_dataset("activations/b", data=values, chunks=(4, 3), compression="gzip")
        dataset.attrs.update(file["activations/a"].attrs, address="b", order=1)
    assert the(check(path), "inf").index == (7, 1)
