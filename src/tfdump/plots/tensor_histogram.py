"""The histogram of a tensor of a dump, or of one example of it. Needs no matplotlib."""

from collections.abc import Iterator

from tfdump.dump.examples import StoredExamples
from tfdump.dump.reader import Tensor
from tfdump.plots.kinds import subject_of
from tfdump.plots.values import value_excerpt
from tfdump.statistics.histogram import BINS, Histogram, histogram_of
from tfdump.tensors import Array


def count_values(
    tensor: Tensor,
    example: int | None = None,
    step: int | None = None,
    bins: int = BINS,
    names: StoredExamples | None = None,
) -> tuple[Histogram, tuple[str, ...], tuple[str, ...]]:
    """Return the histogram of all stored values, or of one example or step; its words for a caption; and notes.

    Raises TfdumpError for a tensor without numbers.
    """
    subject = subject_of(tensor)
    if example is None and step is None:
        sparse = tensor.encoding == "sparse"
        notes = (
            ("the histogram counts only stored values; the other values of a sparse tensor are 0",) if sparse else ()
        )
        return histogram_of(lambda: pieces_of(tensor), bins), ("all values",), notes
    excerpt = value_excerpt(tensor, subject, example, step, names)
    return histogram_of(lambda: [excerpt.values], bins), excerpt.words, excerpt.notes


def pieces_of(tensor: Tensor) -> Iterator[Array]:
    """Yield all stored values of a tensor, piece by piece."""
    for part in tensor.value_parts():
        for _, block in part.blocks():
            yield block


def description_of(tensor: Tensor) -> str:
    """Return the group, class, shape and dtype of a tensor on one line."""
    of = str(tensor.attributes.get("class", ""))
    shape = str(tensor.shape).replace("-1", "?")
    return ", ".join(part for part in (tensor.group, of, f"{shape} {tensor.dtype}", tensor.encoding) if part)
