"""The ranges of the tensors of a dump, each from its values or, where there are none, from its statistics."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np

from tfdump.accumulators.quantile_histogram import QuantileHistogram, stored_histogram
from tfdump.address import Selection
from tfdump.argument_kinds import real_number, shown, texts, whole_number
from tfdump.byte_sizes import parse_bytes
from tfdump.checks.axes import Axes
from tfdump.checks.configuration import Configuration
from tfdump.comparison.fidelity.scales import is_quantized_integer
from tfdump.dump import layout
from tfdump.dump.attributes import full_name
from tfdump.dump.axis0 import NONE
from tfdump.dump.reader import Dump, Tensor, open_dump
from tfdump.dump.selection import choose
from tfdump.errors import DumpError, TfdumpError
from tfdump.files.hdf5 import damage
from tfdump.process.stages import Meter, Progress, silent_progress
from tfdump.quantization.measuring import SHOWN, RangeOptions, estimated, measured
from tfdump.quantization.records import RangesReport, TensorRange
from tfdump.quantization.values import NumbersOf, reason_without_numbers

ALL = "all"
DEFAULT_MEMORY_OF_TENSOR = 256 << 20
"""The bytes of a tensor that is read once; larger ones are read for each pass over their values."""

_MOST_BITS = 128
_STATISTICS = ("count", "nan", "inf", "zero", "min", "max")
_WHOLE_DTYPES = ("int", "uint", "bool")


def ranges(
    dump: Dump | str | Path,
    *,
    layers: str | Iterable[str] = (),
    exclude: str | Iterable[str] = (),
    depth: int | None = None,
    per_channel: bool = False,
    show: str | Iterable[str] = ALL,
    bits: int = 16,
    percentile: float = 99.99,
    memory: int | str = DEFAULT_MEMORY_OF_TENSOR,
    progress: Progress = silent_progress,
) -> RangesReport:
    """Tell the ranges of the tensors of a dump, and what numbers of fewer bits would make of them.

    Percentiles are exact. A tensor that does not fit `memory` is read several times instead, so memory stays flat. Of
    a dump without values, everything that `--stats quantiles` stored is told, with its error. See docs/ranges.md.

    Parameters
    ----------
    dump : Dump, str or Path
        An open dump, or the path of one.
    layers, exclude : str or iterable of str, optional
        Patterns of the tensors to look at, and of those to leave out, as for `-l` and `-x` on the command line.
    depth : int, optional
        Only tensors of layers at most this deep.
    per_channel : bool, default False
        One record per channel: along the axis of the scales of a quantized tensor, along the axis of the units that
        the configuration of the model tells for an activation, and along the last axis otherwise.
    show : str or iterable of str, default "all"
        What to tell, which decides how much is computed: some of `range` (percentiles), `bits` (fixed point), `int8`,
        `int16` and `float`.
    bits : int, default 16
        The width of the fixed-point types.
    percentile : float, default 99.99
        The percentage that bounds the range of integers by the method `percentile`, from above; 100 minus it bounds
        the range from below.
    memory : int or str, default 256 MiB
        The bytes of one tensor that is read at once: a number, or a text such as `"2G"`.
    progress : callable, optional
        Called with the number of values read so far and the number of all values.

    Returns
    -------
    RangesReport
        One record per tensor or channel, the tensors without a range, and notes.

    Raises
    ------
    TfdumpError
        If the file is not a dump or is damaged, if a pattern matches nothing, or if an argument is not valid.

    Examples
    --------
    >>> report = tfdump.ranges("calibration.h5", show="int8")
    >>> for one in report.ranges:
    ...     print(one.tensor, one.integer(8, symmetric=True, method="max").sqnr)
    """
    if not callable(progress):
        raise TfdumpError(f"progress {shown(progress)} is not callable (pass a function of two numbers)")
    options = range_options(show, bits, percentile)
    limit = parse_bytes(memory) if isinstance(memory, str) else whole_number("memory", memory)
    selection = Selection(
        texts("layers", layers, "conv*"), texts("exclude", exclude, "conv*"), whole_number("depth", depth, 0)
    )
    with nullcontext(dump) if isinstance(dump, Dump) else open_dump(dump) as opened:
        if not len(opened):
            raise DumpError(f"{opened.name} holds no tensors, so there are no ranges")
        tensors = choose(opened, selection)
        meter = Meter(sum(tensor.about_values for tensor in tensors), progress)
        axis_of = _channel_axes(opened) if per_channel else None
        reader = _Reader(options, DEFAULT_MEMORY_OF_TENSOR if limit is None else limit, axis_of, meter.add)
        records = tuple(record for tensor in tensors for record in reader.read(tensor))
    return RangesReport(
        opened.name, records, tuple(reader.skipped), tuple(reader.notes), options.bits, options.percentile
    )


def parse_show(show: str | Iterable[str]) -> tuple[str, ...]:
    """Return what is shown, some of SHOWN, from names or a text such as `range,int8`; raises TfdumpError for others."""
    names = [name.strip() for text in texts("show", show, "range") for name in text.split(",")]
    unknown = [name for name in names if name not in (*SHOWN, ALL)]
    if unknown or not names:
        raise TfdumpError(f"show {', '.join(map(shown, unknown)) or 'nothing'}: choose from {', '.join(SHOWN)} or all")
    return tuple(name for name in SHOWN if name in names or ALL in names)


def range_options(show: str | Iterable[str], bits: int, percentile: float) -> RangeOptions:
    """Return what is told; raises TfdumpError for an argument that is not valid."""
    names = parse_show(show)
    width = whole_number("bits", bits)
    if width is None or width > _MOST_BITS:
        raise TfdumpError(f"bits {shown(bits)} is not between 1 and {_MOST_BITS}")
    percentage = real_number("percentile", percentile, 99.99)
    if not 50 < percentage <= 100:
        raise TfdumpError(f"percentile {shown(percentile)} is not above 50 and at most 100 (for example 99.99)")
    return RangeOptions(frozenset(names), width, percentage)


def _channel_axes(dump: Dump) -> Callable[[Tensor], int | None]:
    """Return a function that tells the axis of the channels of a tensor, None if it has none."""
    with damage(DumpError, f"{dump.name}: '{layout.CONFIG}'"):
        configuration = Configuration(dump.config)
    activations = [tensor for tensor in dump.tensors() if tensor.group == layout.ACTIVATIONS]
    axes = Axes(configuration, activations)

    def axis_of(tensor: Tensor) -> int | None:
        rank = len(tensor.shape)
        weight = tensor.group in (layout.WEIGHTS, layout.WEIGHT_GRADIENTS)
        axis = tensor.attributes.get("quantized_axis", -1 if weight else axes.of_units(tensor))
        first = int(tensor.attributes.get("axis0", NONE) != NONE)
        if not -rank <= axis < rank or axis % rank < first:
            return None
        return int(axis) % rank - rank  # counted from the last axis, which the parts of a composite share

    return axis_of


class _Reader:
    """Reads tensors one after the other; `skipped` and `notes` tell about those that differ from the others."""

    def __init__(
        self,
        options: RangeOptions,
        memory: int,
        axis_of: Callable[[Tensor], int | None] | None,
        advance: Callable[[int], None],
    ) -> None:
        self._options = options
        self._memory = memory
        self._axis_of = axis_of
        self._advance = advance
        self.skipped: list[tuple[str, str]] = []
        self.notes: list[tuple[str, str]] = []

    def read(self, tensor: Tensor) -> Iterator[TensorRange]:
        """Yield the records of a tensor: one, one per channel, or none."""
        name = full_name(tensor)
        reason = reason_without_numbers(tensor)
        if reason is None and not tensor.has_values and not set(_STATISTICS) <= set(tensor.statistics or {}):
            reason = "it has no values, and its statistics are not complete"
        if reason is not None:
            self.skipped.append((name, reason))
            return
        class_name = str(tensor.attributes.get("class", ""))
        record = TensorRange(name, class_name, tensor.dtype, None, 0, 0, 0, 0, float("nan"), float("nan"))
        with damage(DumpError, name):
            if tensor.has_values:
                self._note(name, _peculiarities(tensor))
                yield from self._from_values(tensor, record)
            else:
                yield self._from_statistics(tensor, record)

    def _note(self, name: str, notes: Sequence[str]) -> None:
        self.notes += [(name, note) for note in notes]

    def _from_values(self, tensor: Tensor, record: TensorRange) -> Iterator[TensorRange]:
        numbers = NumbersOf(tensor, self._memory, self._advance)
        axis = None if self._axis_of is None else self._axis_of(tensor)
        channels = None if axis is None else numbers.channels(axis)
        if self._axis_of is not None and channels is None:
            self._note(record.tensor, ["it has no axis of channels, so this is the range of the whole tensor"])
        if axis is None or channels is None:
            yield measured(record, numbers.whole(), self._options)
            return
        for channel, values in numbers.by_channel(axis, channels):
            yield measured(replace(record, channel=channel), values, self._options)

    def _from_statistics(self, tensor: Tensor, record: TensorRange) -> TensorRange:
        statistics = tensor.statistics or {}
        histogram = stored_histogram(tensor.attributes)
        untold = ["the noise of quantization needs values"]
        if histogram is None:
            untold.append("percentiles need values or --stats quantiles")
        if self._axis_of is not None:
            untold.append("channels need values")
        self._note(record.tensor, [f"only its statistics are in the dump: {', '.join(untold)}"])
        if is_quantized_integer(tensor):
            self._note(record.tensor, ["its range is that of the integers, because statistics are of integers"])
        whole = tensor.dtype.startswith(_WHOLE_DTYPES)
        known = _with_statistics(record, statistics)
        if histogram is not None:
            _check(histogram, known)
        return estimated(known, histogram, self._options, whole)


def _with_statistics(record: TensorRange, statistics: dict[str, int | float]) -> TensorRange:
    count, nan, inf, zero = (int(statistics[name]) for name in ("count", "nan", "inf", "zero"))
    low, high = float(statistics["min"]), float(statistics["max"])
    if count > nan + inf and not -np.inf < low <= high < np.inf:
        raise ValueError(f"its statistics say that its finite values are from {low} to {high}")
    return replace(record, count=count, nan=nan, inf=inf, zero=zero, min=low, max=high)


def _check(histogram: QuantileHistogram, known: TensorRange) -> None:
    """Raise ValueError if a histogram is not one of the values that the statistics count."""
    finite = known.count - known.nan - known.inf
    if histogram.finite != finite:
        raise ValueError(f"its histogram counts {histogram.finite} values, and its statistics {finite}")
    lows, highs = histogram.edges()
    if finite and not (lows[0] <= known.min <= highs[0] and lows[-1] <= known.max <= highs[-1]):
        raise ValueError(f"its histogram does not begin and end at its minimum {known.min} and maximum {known.max}")


def _peculiarities(tensor: Tensor) -> list[str]:
    """Return what is special about the values of a tensor, as parts of sentences."""
    notes = []
    if "reduce" in tensor.attributes:
        notes.append(f"its values were reduced ({tensor.attributes['reduce']}) before they were stored")
    if tensor.stored_dtype == "float16" and tensor.dtype not in ("float16", "float8_e4m3fn", "float8_e5m2"):
        notes.append(f"its values were stored as float16 and computed as {tensor.dtype}")
    if is_quantized_integer(tensor):
        notes.append("its integers were dequantized by its scale and zero point")
    if tensor.encoding == "sparse":
        notes.append("it is sparse, and only the stored entries count")
    return notes
