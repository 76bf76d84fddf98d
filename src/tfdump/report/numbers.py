"""The statistics and the histogram of one tensor, and the findings of the checks on a sample of it."""

import math

import numpy as np

from tfdump.accumulators.statistics import ExactStatistics
from tfdump.checks.evidence import Evidence, Tally
from tfdump.checks.examiner import ExaminedTensor
from tfdump.checks.magnitudes import Count
from tfdump.checks.nonfinite import infinite, nan
from tfdump.checks.places import Places
from tfdump.checks.records import Checked, Thresholds
from tfdump.dtypes import kind_of
from tfdump.dump.attributes import full_name
from tfdump.dump.parts import Key, Part
from tfdump.dump.reader import Tensor
from tfdump.errors import DumpError
from tfdump.files.hdf5 import damage
from tfdump.report.records import NONE, SAMPLED, STORED, WHOLE, Numbers
from tfdump.report.sampling import Sample
from tfdump.statistics.histogram import histogram_of
from tfdump.tensors import Array

BINS = 48


def readable_bytes(tensor: Tensor) -> int:
    """Return the bytes of all values of a tensor; 0 where there are none to read."""
    if without_numbers(tensor):
        return 0
    return sum(part.nbytes for part in tensor.value_parts())


def without_numbers(tensor: Tensor) -> str:
    """Return the reason why a tensor has no values to count, or an empty text."""
    if not tensor.connected:
        return "not connected to the loss"
    if kind_of(tensor.dtype) not in "fciub":
        return f"{tensor.dtype}, no numbers"
    if not tensor.has_values:
        return "the dump does not hold its values"
    return ""


def numbers_of(tensor: Tensor, share: int | None) -> Numbers:
    """Return the statistics and the histogram of a tensor; at most about `share` bytes of it are read.

    Statistics in the dump are used unchanged, because they are of all values.
    """
    stored = {name: value for name, value in (tensor.statistics or {}).items() if isinstance(value, (int, float))}
    with damage(DumpError, full_name(tensor)):
        total = int(stored.get("count", 0))
    reason = without_numbers(tensor)
    if reason:
        return Numbers(STORED if stored else NONE, stored, total, total, reason=reason)
    with damage(DumpError, full_name(tensor)):
        sample = Sample(tensor, share)
        source = STORED if stored else WHOLE if sample.is_whole else SAMPLED
        if not stored:
            accumulator = ExactStatistics()
            for piece in sample.pieces():
                accumulator.add(piece)
            stored = dict(vars(accumulator.result()))
        histogram = histogram_of(sample.pieces, BINS)
    return Numbers(source, stored, sample.read, sample.total, histogram)


def scale_and_norms(tensor: Tensor, numbers: Numbers, is_gradient: bool) -> tuple[float | None, tuple[float, ...]]:
    """Return the scale of a tensor (see Row), and the norms of its steps where the dump has them."""
    norm = tensor.norm
    norms = tuple(norm) if isinstance(norm, list) else () if norm is None else (norm,)
    if norms and is_gradient:
        return norms[-1], norms
    statistics = numbers.statistics
    finite = statistics.get("count", 0) - statistics.get("nan", 0) - statistics.get("inf", 0)
    l2 = statistics.get("l2")
    if l2 is None:
        return None, norms
    if finite <= 0:  # NaN and infinities have no size, so the scale is NaN; that of an empty tensor is unknown
        return (math.nan if statistics.get("count", 0) else None), norms
    if is_gradient:
        unread = numbers.total / numbers.read if numbers.source == SAMPLED and numbers.read else 1
        return float(l2) * math.sqrt(unread), norms
    return float(l2) / math.sqrt(finite), norms


def examined_by_sample(tensor: Tensor, share: int | None, first_example: int) -> ExaminedTensor | None:
    """Return the findings of NaN and Inf in a sample; None where all values are read, or none, by the checks."""
    if without_numbers(tensor) or share is None:
        return None
    name = full_name(tensor)
    with damage(DumpError, name):
        sample = Sample(tensor, share)
        if sample.is_whole:
            return None
        tallies = _tallies(tensor, sample, first_example)
        stored = tensor.statistics
        of, unit = sample.read, f"sampled values (of {sample.total})"
        if stored is not None:  # statistics in the dump are of all values
            of, unit = int(stored.get("count", 0)), "values"
            tallies = {kind: Tally(int(stored.get(kind, 0)), tally.first) for kind, tally in tallies.items()}
    evidence = Evidence(name, of, unit, tallies)
    findings = [check(evidence, Thresholds()) for check in (nan, infinite)]
    reason = f"the report read only {sample.read} of its {sample.total} values, and looked only for NaN and Inf"
    checked = Checked(name, str(tensor.attributes.get("class", "")), reason)
    return ExaminedTensor(checked, tuple(finding for finding in findings if finding is not None))


def _tallies(tensor: Tensor, sample: Sample, first_example: int) -> dict[str, Tally]:
    """Return the counts of NaN and infinities in a sample, with the place of the first of each."""
    totals: dict[str, Tally] = {"nan": Tally(), "inf": Tally()}
    for part, key, block in sample.blocks():
        if block.dtype.kind not in "fc":
            break
        places = Places(tensor, part, first_example)
        for name, mask in (("nan", np.isnan(block)), ("inf", np.isinf(block) & ~np.isnan(block))):
            count = int(np.count_nonzero(mask))
            if count:
                tally = totals[name]
                first = tally.first or places.tally(_first(part, key, block, mask)).first
                totals[name] = Tally((tally.count or 0) + count, first)
    return totals


def _first(part: Part, key: Key, block: Array, mask: Array) -> Count:
    """Return the first true place of a mask over a block, as a position in its part."""
    at = np.unravel_index(int(np.argmax(mask)), mask.shape)
    index = tuple(int(place) + piece.start for place, piece in zip(at, key, strict=True))
    value = block[at]
    position = int(np.ravel_multi_index(index, part.shape)) if part.shape else 0
    return Count(1, position, float(np.abs(value) if block.dtype.kind == "c" else value))
