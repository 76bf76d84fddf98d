"""What a run is asked for, whatever it dumps: how it reads, and what it stores."""

from dataclasses import dataclass

from tfdump.errors import TfdumpError
from tfdump.run.batching import DEFAULT_MEMORY
from tfdump.statistics.reduction import Reduction


@dataclass(frozen=True)
class RunOptions:
    """How to run: the batch size (None for automatic), the memory for one batch in bytes, and the mode."""

    batch_size: int | None = None
    memory: int = DEFAULT_MEMORY
    training: bool = False


@dataclass(frozen=True)
class StoreOptions:
    """What is stored of each tensor: reduced or not, in which float dtype, with statistics, with values."""

    reduction: Reduction | None = None
    dtype: str | None = None
    statistics: bool = False
    values: bool = True
    save_inputs: bool = False

    @property
    def about_dtypes(self) -> str:
        """The options that decide the dtype in which values are stored, as on the command line."""
        names = {"--dtype": self.dtype is not None, "--reduce": self.reduction is not None}
        return " and ".join(name for name, given in names.items() if given)

    def check(self, compression: str) -> None:
        """Raise TfdumpError for options about values where no values are stored."""
        without = {
            f"--dtype {self.dtype}": self.dtype is not None,
            f"--compression {compression}": compression != "none",
        }
        for name in [name for name, given in without.items() if given and not self.values]:
            raise TfdumpError(
                f"{name} says how values are stored, and --stats-only stores none (leave one of them out)"
            )


FLOAT_DTYPES = ("float16", "float32", "float64")
"""The dtypes in which real floats can be stored."""
