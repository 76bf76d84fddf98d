"""Gradients that vanish or explode, tensor by tensor and along the depth, and weights without any."""

from pathlib import Path
from typing import Any

import numpy as np

import tfdump
from support.check_dumps import of, the, write_dump
from tfdump.checks.gradients import StepNorms, norms_findings
from tfdump.checks.records import Finding, Thresholds


def findings_for(check: str, *norms: Any, group: str = "gradients/weights", variable: str = "kernel") -> list[Finding]:
    """The findings of a chain of layers `0`, `1`, ... with these norms; several at each step."""
    chain = [StepNorms(group, f"{n}.{variable}", tuple(np.atleast_1d(norm).tolist())) for n, norm in enumerate(norms)]
    return [finding for finding in norms_findings(chain, Thresholds()) if finding.check == check]


def test_norms_of_one_size_pass() -> None:
    assert findings_for("vanishing", 0.3, 1.0, 0.02, 0.5) == findings_for("exploding", 0.3, 1.0, 0.02, 0.5) == []


def test_a_norm_vanishes_beside_the_largest_nearer_to_the_loss() -> None:
    first, second, depth = findings_for("vanishing", 1e-6, 1e-4, 1e-2, 1.0)
    assert [first.tensor, second.tensor] == ["gradients/weights/0.kernel", "gradients/weights/1.kernel"]
    assert (first.value, first.message) == (1e-6, "the norm 1e-06 is 1e-06 of the largest norm nearer to the loss")
    assert (depth.tensor, depth.count, depth.of) == ("gradients/weights/*.kernel", 2, 4)
    np.testing.assert_allclose(depth.value, 0.01)
    assert "shrinks 100 times a tensor: from 1 in '3.kernel' to 1e-06 in '0.kernel'" in depth.message
    assert findings_for("vanishing", 1.0, 1e-6)[:1] == []  # nearer to the loss nothing is larger


def test_a_norm_explodes_beside_that_nearest_to_the_loss() -> None:
    first, depth = findings_for("exploding", 5e3, 50.0, 1.0)
    assert first.tensor == "gradients/weights/0.kernel"
    assert "grows 70.7 times a tensor" in depth.message
    assert [f.message for f in findings_for("exploding", 2e4)] == ["the norm 2e+04 is above 10000"]


def test_zero_and_tiny_norms_have_vanished_alone() -> None:
    assert [f.message for f in findings_for("vanishing", 0.0)] == ["the gradient is zero"]
    assert [f.message for f in findings_for("vanishing", 1e-12)] == ["the norm 1e-12 is below 1e-10"]


def test_kernels_are_compared_with_kernels() -> None:
    chain = [StepNorms("gradients/weights", name, (norm,)) for name, norm in
             (("a.kernel", 1.0), ("a.bias", 1e-5), ("b.kernel", 2.0), ("b.bias", 1e-5))]  # fmt: skip
    assert norms_findings(chain, Thresholds()) == []


def test_bad_norms_are_left_to_the_check_of_nan() -> None:
    assert findings_for("vanishing", np.nan, 1.0, np.inf) == findings_for("exploding", np.nan, 1.0, np.inf) == []


def test_steps_are_looked_at_one_by_one() -> None:
    (first,) = findings_for("vanishing", [1.0, 1e-6, 1e-7], [1.0, 1.0, 1.0])
    assert (first.count, first.of, first.index, first.value) == (2, 3, (1,), 1e-6)
    assert "(at step 1, the first of 2)" in first.message


def test_the_input_is_the_far_end_of_the_activations(tmp_path: Path) -> None:
    ones, norm = np.ones((4, 3), np.float32), np.sqrt(12)
    tensors = {
        "gradients/activations/a": (1e-4 * ones, {"norm": norm * 1e-4}),
        "gradients/activations/b": (ones, {"norm": norm}),
        "gradients/inputs/x": (1e-6 * ones, {"norm": norm * 1e-6}),
    }
    findings = of(tfdump.check(write_dump(tmp_path / "d.h5", tensors)), "vanishing")
    assert [(f.tensor, f.count) for f in findings] == [
        ("gradients/inputs/x", 1), ("gradients/activations/a", 1), ("gradients/activations/*", 2),
    ]  # fmt: skip


def test_norms_alone_are_enough(tmp_path: Path) -> None:
    further = {"reduce": "norm", "axis0": "none"}
    tensors = {
        "gradients/weights/a.kernel": (np.float32(1e-6), further | {"norm": 1e-6}),
        "gradients/weights/b.kernel": (np.float32(1.0), further | {"norm": 1.0}),
        "gradients/weights/c.kernel": (np.float32(np.nan), further | {"norm": np.nan}),
    }
    report = tfdump.check(write_dump(tmp_path / "d.h5", tensors))
    assert the(report, "vanishing").tensor == "gradients/weights/a.kernel"
    assert the(report, "nan").message == "1 of 1 norms are NaN"
    assert "it was reduced before it was stored" in {item.reason for item in report.skipped}


def test_norms_that_were_not_stored_are_computed(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    small, large = rng.standard_normal((3, 50, 7)), rng.standard_normal((3, 50, 7))
    small[1:] *= 1e-5
    step = {"axis0": "step"}
    tensors = {"gradients/weights/a.kernel": (small, step), "gradients/weights/b.kernel": (large, step)}
    finding = the(tfdump.check(write_dump(tmp_path / "d.h5", tensors)), "vanishing")
    assert (finding.count, finding.of, finding.index) == (2, 3, (1,))
    np.testing.assert_allclose(finding.value, np.linalg.norm(small[1]))


def test_weights_that_the_loss_does_not_reach_are_found(tmp_path: Path) -> None:
    none, kernel = np.zeros((0, 3), np.float32), np.ones((4, 3), np.float32)
    tensors = {
        "gradients/weights/a.kernel": (none, {"connected": False, "axis0": "none"}),
        "gradients/weights/b.kernel": (kernel, {"axis0": "none", "norm": 3.0}),
        "gradients/activations/p": (none, {"connected": False, "axis0": "none"}),
    }
    report = tfdump.check(write_dump(tmp_path / "d.h5", tensors))
    assert the(report, "unconnected").tensor == "gradients/weights/a.kernel"
    reasons = {tensor.tensor: tensor.reason for tensor in report.tensors}
    assert reasons == {
        "gradients/weights/a.kernel": "it is not connected to the loss",
        "gradients/weights/b.kernel": None,
        "gradients/activations/p": "it is not connected to the loss",
    }
