"""The options of a run, whatever it dumps: how it reads the inputs, how it runs the model, and what it stores."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any

from tfdump.address import Selection
from tfdump.argument_kinds import flag, shown, text, whole_number
from tfdump.byte_sizes import parse_bytes
from tfdump.errors import TfdumpError
from tfdump.inputs.source import ReadingOptions
from tfdump.run.batching import DEFAULT_MEMORY
from tfdump.statistics.reduction import Reduction, parse_reduction

QUANTILES = "quantiles"
"""The argument `stats` with which the statistics hold histograms for percentiles too."""

FLOAT_DTYPES = ("float16", "float32", "float64")
"""The dtypes in which real floats can be stored."""


@dataclass(frozen=True)
class RunOptions:
    """How to run: the batch size (None for automatic), the memory for one batch in bytes, and the mode."""

    batch_size: int | None = None
    memory: int = DEFAULT_MEMORY
    training: bool = False


@dataclass(frozen=True)
class StoreOptions:
    """What is stored of each tensor: its values or not, reduced or whole, in which float dtype, with statistics.

    `quantiles` adds histograms for percentiles to the statistics.
    """

    reduction: Reduction | None = None
    dtype: str | None = None
    statistics: bool = False
    quantiles: bool = False
    values: bool = True
    save_inputs: bool = False

    @property
    def about_dtypes(self) -> str:
        """The options that decide the dtype in which values are stored, as on the command line."""
        options = {"--dtype": self.dtype is not None, "--reduce": self.reduction is not None}
        return " and ".join(option for option, is_set in options.items() if is_set)

    def check(self, compression: str) -> None:
        """Raise TfdumpError for options about values where no values are stored."""
        options = {
            f"--dtype {self.dtype}": self.dtype is not None,
            f"--compression {compression}": compression != "none",
        }
        for option in [option for option, is_set in options.items() if is_set and not self.values]:
            raise TfdumpError(f"{option} needs values, and --stats-only stores none (leave one of the options out)")


@dataclass(frozen=True, kw_only=True)
class DumpOptions(ABC):
    """The options of every kind of dump: which tensors, how inputs are read, how the model runs, and how it is stored.

    `eager` runs the model without a graph. `compression` is one of `tfdump.dump.compression.COMPRESSIONS`.
    """

    selection: Selection = field(default_factory=Selection)
    seed: int = 0
    eager: bool = False
    compression: str = "none"
    checksums: bool = False
    reading: ReadingOptions = field(default_factory=ReadingOptions)
    run: RunOptions = field(default_factory=RunOptions)

    @property
    @abstractmethod
    def stores_values(self) -> bool:
        """Whether values are stored, and not statistics alone."""


def run_options(batch_size: Any, memory: Any, training: Any) -> RunOptions:
    """Return how to run; raises TfdumpError for a batch size, a memory size or a mode that is not valid."""
    size = byte_size("memory", memory)
    return RunOptions(
        whole_number("batch_size", batch_size), DEFAULT_MEMORY if size is None else size, flag("training", training)
    )


def store_options(
    reduce: Any = None, dtype: Any = None, stats: Any = False, stats_only: Any = False, save_inputs: Any = False
) -> StoreOptions:
    """Return what is stored of each tensor; raises TfdumpError for an argument that is not valid.

    `reduce` is a reduction or its text (`mean:spatial`). `stats` is a switch or QUANTILES, and `stats_only` implies it.
    """
    if dtype not in (None, *FLOAT_DTYPES):
        raise TfdumpError(f"dtype {shown(dtype)} is none of {', '.join(FLOAT_DTYPES)}")
    without_values = flag("stats_only", stats_only)
    return StoreOptions(
        reduce if isinstance(reduce, Reduction) else reduction_of(reduce),
        dtype,
        statistics=statistics_flag(stats) or without_values,
        quantiles=isinstance(stats, str) and stats == QUANTILES,
        values=not without_values,
        save_inputs=flag("save_inputs", save_inputs),
    )


def statistics_flag(stats: Any) -> bool:
    """Return whether statistics are stored; raises TfdumpError for what is neither a switch nor QUANTILES."""
    if isinstance(stats, str) and stats == QUANTILES:
        return True
    try:
        return flag("stats", stats)
    except TfdumpError as error:
        raise TfdumpError(f"{error}, nor '{QUANTILES}'") from None


def reduction_of(reduce: Any) -> Reduction | None:
    """Return the reduction that a text describes, None for None; raises TfdumpError for any other value."""
    words = text("reduce", reduce, "mean:spatial")
    return None if words is None else parse_reduction(words)


def seed_number(seed: Any) -> int:
    """Return the seed of random numbers as an int; raises TfdumpError where it is not between 0 and 2**32 - 1."""
    number = whole_number("seed", seed, 0)
    if number is None or number >= 2**32:
        raise TfdumpError(f"seed {seed} is not between 0 and 2**32 - 1")
    return number


def byte_size(name: str, size: Any) -> int | None:
    """Return a size in bytes from a number or a text (`2G`), None for None; raises TfdumpError for any other value."""
    return parse_bytes(size) if isinstance(size, str) else whole_number(name, size)
