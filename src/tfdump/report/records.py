"""What a report is made of: gathered from dumps, and turned into a page by the modules beside it."""

from dataclasses import dataclass, field

from tfdump.checks import CheckReport, Finding
from tfdump.comparison.diff import DiffOptions
from tfdump.comparison.verdict import DiffReport, TensorDiff
from tfdump.statistics.histogram import Histogram
from tfdump.tensors import NotCaptured

READ_BYTES = 256 << 20
PICTURES = 40
PICTURE_BYTES = 8 << 20

STORED, WHOLE, SAMPLED, NONE = "stored", "whole", "sampled", "none"
"""Where the statistics of a tensor are from: the dump has them, all values, a sample of them; or there are none."""


@dataclass(frozen=True)
class ReportOptions:
    """What goes into a report.

    At most about `read_bytes` of values are read for statistics, histograms and checks, None reads everything;
    `pictures` is how many are drawn, None draws all. `layers` and `exclude` choose tensors; `diff` is how the other
    dump is compared.
    """

    read_bytes: int | None = READ_BYTES
    pictures: int | None = PICTURES
    layers: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    diff: DiffOptions = field(default_factory=DiffOptions)


@dataclass(frozen=True)
class Numbers:
    """The statistics of one tensor: `source` tells where they are from, `read` of `total` values were looked at.

    `statistics` are by the names of `tfdump.statistics.statistics.Statistics`. `reason` says why there are none.
    """

    source: str
    statistics: dict[str, float] = field(default_factory=dict)
    read: int = 0
    total: int = 0
    histogram: Histogram | None = None
    reason: str = ""


@dataclass(frozen=True)
class Thumbnail:
    """A picture as the bytes of a PNG file, what it shows in words, and what it leaves out."""

    png: bytes
    width: int
    height: int
    text: str
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Row:
    """One tensor of the list.

    `number` counts from 1 in the order of the dump, which is that of execution within each group. `scale` is how
    large the tensor is: the L2 norm of a gradient (of its last step), else the root mean square; NaN where no value is
    finite, None where it is not known. `norms` are those of every step. `thumbnail` is None where `undrawn` says why.
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

    @property
    def name(self) -> str:
        """The group and the address, as tables show it."""
        return f"{self.group}/{self.address}"

    @property
    def is_gradient(self) -> bool:
        """Whether its size is told by its norm."""
        return self.group.startswith("gradients/")


@dataclass(frozen=True)
class Architecture:
    """The model's configuration in short: its class, its name, and how many layers of each class it has."""

    class_name: str
    name: str
    layers: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Loss:
    """The loss: one number, or one a step or example (`axis`)."""

    axis: str
    values: tuple[float, ...]


@dataclass(frozen=True)
class Report:
    """All that a page shows; files are named without their folders.

    `provenance` are the attributes of the dump, and of the other one where it is a dump (None where an attribute is
    missing). `notes` are what a reader should know about the report itself: what was sampled, skipped, not drawn.
    """

    dump: str
    other: str | None
    provenance: tuple[tuple[str, str | None, str | None], ...]
    architecture: Architecture | None
    rows: tuple[Row, ...]
    checks: CheckReport
    diff: DiffReport | None
    loss: Loss | None
    not_captured: tuple[NotCaptured, ...]
    depends_on_batch: tuple[str, ...]
    notes: tuple[str, ...]
