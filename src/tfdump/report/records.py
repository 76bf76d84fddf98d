"""The records of a report: `gather` makes them from dumps, and `page` turns them into HTML."""

from dataclasses import dataclass, field

from tfdump.checks import CheckReport, Finding
from tfdump.comparison.options import DiffOptions
from tfdump.comparison.verdict import DiffReport, TensorDiff
from tfdump.quantization.losses import TensorLoss
from tfdump.statistics.histogram import Histogram
from tfdump.tensors import NotCaptured

READ_BYTES = 256 << 20
PICTURES = 40
PICTURE_BYTES = 8 << 20

STORED, WHOLE, SAMPLED, NONE = "stored", "whole", "sampled", "none"
"""The source of the statistics of a tensor: the dump, all values, a sample of the values, or none."""


@dataclass(frozen=True)
class ReportOptions:
    """The options of a report.

    About `read_bytes` of values are read for statistics, histograms and checks; None reads everything. `pictures` is
    the number of pictures; None draws all. `layers` and `exclude` select tensors. `diff` holds the options of the
    comparison with the other dump.
    """

    read_bytes: int | None = READ_BYTES
    pictures: int | None = PICTURES
    layers: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    diff: DiffOptions = field(default_factory=DiffOptions)


@dataclass(frozen=True)
class Numbers:
    """The statistics of one tensor, and their `source`; `read` of `total` values were read.

    The names in `statistics` are those of `tfdump.statistics.statistics.Statistics`. `reason` says why there are none.
    """

    source: str
    statistics: dict[str, float] = field(default_factory=dict)
    read: int = 0
    total: int = 0
    histogram: Histogram | None = None
    reason: str = ""


@dataclass(frozen=True)
class Thumbnail:
    """A picture as the bytes of a PNG file, with a description, and notes on what it leaves out."""

    png: bytes
    width: int
    height: int
    text: str
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Row:
    """One tensor of the list.

    `number` counts from 1 in the order of the dump, which is the order of execution within each group. `scale` is the
    L2 norm of a gradient (of its last step), else the root mean square; NaN where no value is finite, None where it is
    unknown. `norms` holds the norm of every step. Where `thumbnail` is None, `undrawn` gives the reason. `inputs`,
    `operands`, `operation` and `source` are as in the dump.
    """

    number: int
    group: str
    address: str
    class_name: str
    structure: str
    shape: tuple[int, ...]
    dtype: str
    stored_dtype: str
    encoding: str | None
    axis0: str
    connected: bool
    reduced: str
    numbers: Numbers
    scale: float | None
    norms: tuple[float, ...]
    findings: tuple[Finding, ...] = ()
    diff: TensorDiff | None = None
    thumbnail: Thumbnail | None = None
    undrawn: str = ""
    inputs: tuple[str, ...] | None = None
    operands: tuple[str, ...] | None = None
    operation: str = ""
    source: str = ""

    @property
    def reads(self) -> tuple[str, ...] | None:
        """The addresses of the tensors that the tensor was computed from, operations included; None if unknown."""
        return self.inputs if self.operands is None else self.operands

    @property
    def example_ids(self) -> tuple[str, ...]:
        """The names of the examples of which the findings and the difference tell."""
        of_findings = [finding.example_id for finding in self.findings]
        names = [*of_findings, None if self.diff is None else self.diff.example_id]
        return tuple(dict.fromkeys(name for name in names if name is not None))

    @property
    def name(self) -> str:
        """The group and the address, as tables show it."""
        return f"{self.group}/{self.address}"

    @property
    def is_gradient(self) -> bool:
        """Whether `scale` is a norm."""
        return self.group.startswith("gradients/")


@dataclass(frozen=True)
class Architecture:
    """A summary of the model's configuration: its class, its name, and the number of layers of each class."""

    class_name: str
    name: str
    layers: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class LossValues:
    """The loss: one number, or one number per step or example (`axis`)."""

    axis: str
    values: tuple[float, ...]


@dataclass(frozen=True)
class Report:
    """Everything that a page shows; names of files have no folders.

    `provenance` holds the attributes of the dump, and of the other one where it is a dump (None for a missing
    attribute). `notes` tell the reader what the report sampled, skipped or did not draw. `losses` tell what a quantized
    side has lost.
    """

    dump: str
    other: str | None
    provenance: tuple[tuple[str, str | None, str | None], ...]
    architecture: Architecture | None
    rows: tuple[Row, ...]
    checks: CheckReport
    diff: DiffReport | None
    loss: LossValues | None
    not_captured: tuple[NotCaptured, ...]
    depends_on_batch: tuple[str, ...]
    notes: tuple[str, ...]
    losses: tuple[TensorLoss, ...] = ()
