"""What `tfdump ranges` tells about tensors: small frozen records."""

from dataclasses import dataclass

PERCENTS = (0.01, 0.1, 1.0, 50.0, 99.0, 99.9, 99.99)
"""The percentiles that are always told."""


@dataclass(frozen=True)
class Percentile:
    """One percentile, with linear interpolation, as `numpy.percentile` gives it.

    Attributes
    ----------
    percent : float
        The percentage of values at or below it, 0 to 100.
    value : float
        The percentile; NaN without a finite value.
    error : float
        The largest distance from the true percentile: 0 where values were read, and more where a histogram of
        `--stats quantiles` told it.
    """

    percent: float
    value: float
    error: float


@dataclass(frozen=True)
class FixedPoint:
    """The signed fixed-point type `ap_fixed<bits, integer_bits>` that holds the range, of Xilinx HLS.

    Attributes
    ----------
    bits, integer_bits, fraction_bits : int
        All bits, those before the binary point with the sign, and those behind it. `integer_bits` is the least with
        which no value overflows; it may be negative, or larger than `bits`.
    sqnr : float or None
        The signal-to-quantization-noise ratio in dB with the default of HLS, which rounds down (`AP_TRN`); None where
        there are no values.
    """

    bits: int
    integer_bits: int
    fraction_bits: int
    sqnr: float | None

    @property
    def type_name(self) -> str:
        """The type as C++ spells it: `ap_fixed<16,6>`."""
        return f"ap_fixed<{self.bits},{self.integer_bits}>"


@dataclass(frozen=True)
class IntegerScale:
    """One way to quantize a tensor to integers: x becomes `(q - zero_point) * scale`.

    Attributes
    ----------
    bits : int
        8 or 16.
    symmetric : bool
        Whether the zero point is 0 and the smallest integer is left out (-127 to 127), as for weights in TFLite.
    method : str
        What decides the range: `max` (all values), `percentile`, or `mse` (the least mean squared error).
    scale : float
        The step between two neighboring numbers; 1 for a tensor of zeros.
    zero_point : int
        The integer that stands for 0.
    error : float
        The largest error of `scale`: 0 unless a histogram told the percentile.
    sqnr : float or None
        The signal-to-quantization-noise ratio in dB; None where there are no values.
    """

    bits: int
    symmetric: bool
    method: str
    scale: float
    zero_point: int
    error: float
    sqnr: float | None


@dataclass(frozen=True)
class FloatLoss:
    """What a narrower float would make of a tensor.

    Attributes
    ----------
    dtype : str
        `float16`, `bfloat16`, `float8_e4m3` or `float8_e5m2`.
    sqnr : float or None
        The signal-to-quantization-noise ratio in dB, over the values that do not become infinite; None where there
        are no values.
    overflowed : int or None
        How many finite values become infinite or, as float8, the largest number.
    """

    dtype: str
    sqnr: float | None
    overflowed: int | None


@dataclass(frozen=True)
class TensorRange:
    """The range of one tensor, or of one of its channels, and what numbers of fewer bits would make of it.

    Attributes
    ----------
    tensor : str
        Group and address.
    class_name, dtype : str
        The class of the layer, and the dtype as the model computed the tensor.
    channel : int or None
        The number of the channel, None for the whole tensor.
    count, nan, inf, zero : int
        The number of values, and how many of them are NaN, infinite and zero. All else is over the finite values.
    min, max : float
        The smallest and the largest value; NaN if there is none.
    percentiles : tuple of Percentile
        Those of `PERCENTS`; empty where nothing tells them, or where they were not asked for.
    fixed_point : FixedPoint or None
        The fixed-point type that holds the range; None without a finite value, or where it was not asked for.
    integers : tuple of IntegerScale
        For 8 and 16 bits, symmetric and asymmetric, by `max`, `percentile` and `mse`, in this order, as far as they
        can be told and were asked for.
    floats : tuple of FloatLoss
        For each narrower float, if asked for.
    """

    tensor: str
    class_name: str
    dtype: str
    channel: int | None
    count: int
    nan: int
    inf: int
    zero: int
    min: float
    max: float
    percentiles: tuple[Percentile, ...] = ()
    fixed_point: FixedPoint | None = None
    integers: tuple[IntegerScale, ...] = ()
    floats: tuple[FloatLoss, ...] = ()

    def percentile(self, percent: float) -> Percentile | None:
        """Return one of the percentiles, None if it is not among them."""
        return next((one for one in self.percentiles if one.percent == percent), None)

    def integer(self, bits: int, symmetric: bool, method: str) -> IntegerScale | None:
        """Return one way to quantize to integers, None if it is not among them."""
        wanted = (bits, symmetric, method)
        return next((one for one in self.integers if (one.bits, one.symmetric, one.method) == wanted), None)

    def float_loss(self, dtype: str) -> FloatLoss | None:
        """Return what a narrower float would make of it, None if it was not asked for."""
        return next((one for one in self.floats if one.dtype == dtype), None)


@dataclass(frozen=True)
class RangesReport:
    """The ranges of the tensors of a dump.

    Attributes
    ----------
    dump : str
        Path of the dump.
    ranges : tuple of TensorRange
        One record per tensor, or one per channel, in the order of the dump.
    skipped : tuple of (str, str)
        The tensors without a range, with the reason.
    notes : tuple of (str, str)
        The tensors of which something else than the tensor itself was measured, such as reduced values, or not all
        could be told, with one sentence about it.
    bits : int
        The width of the fixed-point types.
    percentile : float
        The percentage that `method="percentile"` stands for.
    """

    dump: str
    ranges: tuple[TensorRange, ...]
    skipped: tuple[tuple[str, str], ...]
    notes: tuple[tuple[str, str], ...]
    bits: int
    percentile: float
