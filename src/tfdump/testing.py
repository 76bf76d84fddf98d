"""Assertions for pytest: two dumps match, or two models.

def test_numerics(tmp_path):
    ...  # dump the model to tmp_path / "new.h5"
    assert_dumps_match("golden.h5", tmp_path / "new.h5", rtol={"logits": 1e-3})

def test_conversion():
    assert_models_match("model.keras", "model.tflite", "x.npy", rtol=1e-3)
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfdump.api.compared_models import compare_models
from tfdump.api.data import Data
from tfdump.comparison.diff import Comparable, diff
from tfdump.comparison.verdict import DiffReport

if TYPE_CHECKING:
    from keras import Layer

_MOST_LINES = 20


def assert_dumps_match(golden: Comparable, new: Comparable, **options: Any) -> DiffReport:
    """Assert that two dumps match.

    Parameters
    ----------
    golden : str, pathlib.Path, Dump or dict of str to array_like
        The dump with the expected values, or its arrays by address.
    new : str, pathlib.Path, Dump or dict of str to array_like
        The dump that is checked, or its arrays by address.
    **options
        The keyword arguments of `tfdump.diff`, such as `rtol`, `atol` and `ignore`.

    Returns
    -------
    DiffReport
        The report of `tfdump.diff`.

    Raises
    ------
    AssertionError
        Where the dumps differ, with the first layer that diverges and the other tensors that differ.
    TfdumpError
        Where an argument is not valid, a file cannot be read, or there is nothing to compare.

    Examples
    --------
    >>> assert_dumps_match("golden.h5", tmp_path / "new.h5", rtol={"logits": 1e-3})

    """
    __tracebackhide__ = True  # pytest then shows the line of the test
    report = diff(golden, new, **options)
    if not report.same:
        raise AssertionError(_failure(report))
    return report


def assert_models_match(
    golden: "Layer | str | Path", new: "Layer | str | Path", x: Data | None = None, **options: Any
) -> DiffReport:
    """Assert that two models, or a model and a dump, compute the same over the same inputs.

    Parameters
    ----------
    golden : keras.Layer, str or pathlib.Path
        The model with the expected values, or the path of a dump of its activations.
    new : keras.Layer, str or pathlib.Path
        The model that is checked.
    x : array_like, str, pathlib.Path, dict, tuple, list, tf.data.Dataset, keras.utils.PyDataset or callable, optional
        The inputs, as for `tfdump.activations`.
    **options
        The keyword arguments of `tfdump.compare`, such as `rtol`, `min_cosine`, `first`, `new_dequantize` and
        `isolate`.

    Returns
    -------
    DiffReport
        The report of `tfdump.compare`.

    Raises
    ------
    AssertionError
        Where the models differ, with the first layer that diverges and the other tensors that differ.
    TfdumpError
        Where an argument is not valid, a model cannot be run, or there is nothing to compare.

    Examples
    --------
    >>> assert_models_match("model.keras", "model.tflite", "x.npy", min_cosine=0.99, new_dequantize=True)

    """
    __tracebackhide__ = True  # pytest then shows the line of the test
    report = compare_models(golden, new, x, **options)
    if not report.same:
        raise AssertionError(_failure(report))
    return report


def _failure(report: DiffReport) -> str:
    """Return the summary, and below it one line per tensor that differs."""
    failing = [tensor for tensor in report.tensors if tensor.fails]
    lines = [report.summary, *([report.blame] if report.blame else []), *(f"note: {note}" for note in report.notes)]
    lines += [f"  {tensor.shown_name}: {tensor.reason}" for tensor in failing[:_MOST_LINES]]
    if len(failing) > _MOST_LINES:
        lines.append(f"  and {len(failing) - _MOST_LINES} more")
    return "\n".join(lines)
