"""One pass in pieces says what whole arrays say."""

import tempfile
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

import tfdump
from support.check_dumps import of, write_dump
from tfdump.dump import parts

SPECIAL = [0.0, -0.0, 1.0, -2.5, 0.995, 0.004, 1e5, -65520.0, 3.4e38, 1e-8, 1e-40, np.nan, np.inf, -np.inf]
FLOATS = st.sampled_from(SPECIAL)


def arrays_of(dtype: str) -> st.SearchStrategy[np.ndarray]:
    return arrays(dtype, array_shapes(max_dims=4, max_side=6, min_side=0), elements=FLOATS.map(np.dtype(dtype).type))


@given(
    st.sampled_from(["float16", "float32", "float64"]).flatmap(arrays_of),
    st.sampled_from(["ReLU", "Sigmoid", "Tanh"]),
    st.sampled_from(["example", "batch", "none"]),
)
@settings(deadline=None, max_examples=150)
@pytest.mark.filterwarnings("ignore:overflow")
def test_findings_are_those_of_the_whole_array(values: np.ndarray, class_name: str, axis0: str) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(parts.Part.keys, "__defaults__", (64,))  # many small blocks
        case = {"activations/a": (values, {"class": class_name, "axis0": axis0})}
        report = tfdump.check(
            write_dump(Path(folder) / "d.h5", case), dead_examples=2, underflow_share=0, saturation_share=0
        )
    expected = whole(values, class_name)
    assert {f.check: (f.count, f.index) for f in report.findings if f.check not in ("dead", "constant")} == {
        name: (int(mask.sum()), tuple(np.argwhere(mask)[0].tolist())) for name, mask in expected.items() if mask.any()
    }
    assert [f.units for f in of(report, "dead")] == dead_units(values, class_name, axis0 == "example")
    assert len(of(report, "constant")) == is_constant(values, axis0 == "example")


def whole(values: np.ndarray, class_name: str) -> dict[str, np.ndarray]:
    """The masks of every check that counts elements."""
    masks = {"nan": np.isnan(values), "inf": np.isinf(values)}
    if values.dtype != np.float16:
        for name, dtype in (("float16", np.float16), ("bfloat16", ml_dtypes.bfloat16)):
            with np.errstate(over="ignore"):
                cast = values.astype(dtype).astype(np.float64)
            masks[f"{name}-overflow"] = np.isinf(cast) & np.isfinite(values)
            masks[f"{name}-underflow"] = (cast == 0) & (values != 0)
    if values.ndim:
        if class_name == "Sigmoid":
            masks["saturated"] = (values <= 0.01) | (values >= 0.99)
        if class_name == "Tanh":
            masks["saturated"] = np.abs(values) >= 0.99
    return masks


def dead_units(values: np.ndarray, class_name: str, by_example: bool) -> list[tuple[int, ...]]:
    if class_name != "ReLU" or not by_example or values.ndim < 2 or not values.size or len(values) < 2:
        return []
    units = np.flatnonzero((values == 0).all(axis=tuple(range(values.ndim - 1))))
    return [tuple(units.tolist())] if units.size else []


def is_constant(values: np.ndarray, by_example: bool) -> bool:
    if not by_example or len(values) < 2 or not values.size:
        return False
    with np.errstate(invalid="ignore", over="ignore"):
        return bool((np.abs(values - values[:1]) <= 1e-6 * np.abs(values[:1]).max()).all())
