"""For pytest: an assertion that two dumps match.

def test_numerics(tmp_path):
    ...  # dump the model to tmp_path / "new.h5"
    assert_dumps_match("golden.h5", tmp_path / "new.h5", rtol={"logits": 1e-3})
"""

from typing import Any

from tfdump.comparison.diff import Source, diff
from tfdump.comparison.verdict import DiffReport

_MOST_LINES = 20


def assert_dumps_match(golden: Source, new: Source, **options: Any) -> DiffReport:
    """Raise AssertionError, with the first diverging layer and what else differs, unless two dumps match.

    `golden`, `new` and `options` are those of `tfdump.diff`; returns its report. Raises TfdumpError where there is
    nothing to compare.
    """
    __tracebackhide__ = True  # pytest then shows the line of the test
    report = diff(golden, new, **options)
    if not report.same:
        raise AssertionError(_failure(report))
    return report


def _failure(report: DiffReport) -> str:
    """Return the summary and, below it, a line for each tensor that differs."""
    failing = [tensor for tensor in report.tensors if tensor.fails]
    lines = [report.summary, *(f"note: {note}" for note in report.notes)]
    lines += [f"  {tensor.shown_name}: {tensor.reason}" for tensor in failing[:_MOST_LINES]]
    if len(failing) > _MOST_LINES:
        lines.append(f"  and {len(failing) - _MOST_LINES} more")
    return "\n".join(lines)
