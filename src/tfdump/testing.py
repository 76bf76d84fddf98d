"""An assertion for pytest: two dumps match.

def test_numerics(tmp_path):
    ...  # dump the model to tmp_path / "new.h5"
    assert_dumps_match("golden.h5", tmp_path / "new.h5", rtol={"logits": 1e-3})
"""

from typing import Any

from tfdump.comparison.diff import Comparable, diff
from tfdump.comparison.verdict import DiffReport

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


def _failure(report: DiffReport) -> str:
    """Return the summary, and below it one line per tensor that differs."""
    failing = [tensor for tensor in report.tensors if tensor.fails]
    lines = [report.summary, *(f"note: {note}" for note in report.notes)]
    lines += [f"  {tensor.shown_name}: {tensor.reason}" for tensor in failing[:_MOST_LINES]]
    if len(failing) > _MOST_LINES:
        lines.append(f"  and {len(failing) - _MOST_LINES} more")
    return "\n".join(lines)
