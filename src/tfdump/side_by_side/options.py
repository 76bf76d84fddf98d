"""The options of a comparison of models: those of each side, and those of both."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tfdump.errors import TfdumpError
from tfdump.inputs.source import ReadingOptions
from tfdump.run.options import RunOptions

if TYPE_CHECKING:
    from tfdump.model.loading.loaded_model import LoadedModel


@dataclass(frozen=True)
class ModelToCompare:
    """A model as one side: its name, a function that loads it, and whether its quantized values become real ones."""

    name: str
    load: Callable[[], "LoadedModel"]
    dequantize: bool = False


GOLDEN, NEW = "golden", "new"
"""The two sides, as options of one side begin."""


def with_options_of(role: str, text: str) -> str:
    """Return a message in which the options of a model are those of one side."""
    for option in ("dequantize", "signature", "backend"):  # and --backend-python
        text = text.replace(f"--{option}", f"--{role}-{option}")
    return text


@contextmanager
def errors_name_side(name: str, role: str) -> Iterator[None]:
    """Let errors that are raised inside tell which side they are about."""
    try:
        yield
    except TfdumpError as error:
        text = with_options_of(role, str(error))
        error.args = (text if name in text else f"{name}: {text}", *error.args[1:])
        raise


@dataclass(frozen=True)
class DumpToCompare:
    """A dump as one side."""

    path: Path


SideToCompare = ModelToCompare | DumpToCompare


@dataclass(frozen=True)
class SideBySideOptions:
    """How both sides run: how inputs are read, in which batches, and the seed of random layers.

    With `ignore_ids`, the examples of a dump may have other names than the inputs.
    `isolate` asks for the errors that layers add, and `influence` also for their parts in the error of the outputs.
    """

    reading: ReadingOptions = field(default_factory=ReadingOptions)
    run: RunOptions = field(default_factory=RunOptions)
    seed: int = 0
    ignore_ids: bool = False
    isolate: bool = False
    influence: bool = False

    @property
    def isolates(self) -> bool:
        """Whether errors are isolated."""
        return self.isolate or self.influence

    @property
    def run_of_one(self) -> RunOptions:
        """The run options of one of two models, which share the memory."""
        return replace(self.run, memory=max(1, self.run.memory // 2))
