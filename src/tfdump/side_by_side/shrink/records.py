"""What is asked of a shrunk difference, and what it became."""

from dataclasses import dataclass
from pathlib import Path

from tfdump.comparison.verdict import TensorDiff

INPUT, SEVERAL_INPUTS, EXPECTED, ACTUAL, README = "input.npy", "inputs.npz", "expected.npy", "seen.npy", "README.md"
"""The names of the files in the folder, besides the models."""


class NothingShrunk(Exception):
    """A difference that cannot be cut down; the text is the reason."""


@dataclass(frozen=True)
class SideSource:
    """Where one side comes from: its file, None for a model in memory, and the options of that side."""

    path: Path | None
    dequantize: bool = False
    signature: str | None = None


@dataclass(frozen=True)
class ShrinkRequest:
    """The folder to write, and what reproduces the comparison.

    `options` are options of the command line for both sides, such as `--import`. `inputs` names the inputs.
    """

    folder: Path
    force: bool
    golden: SideSource
    new: SideSource
    options: tuple[str, ...] = ()
    inputs: str = "the inputs"


@dataclass(frozen=True)
class CutPoint:
    """A tensor that both sides agree in, where a part can begin: its address, or `inputs/NAME`, on each side.

    `layout` has the axes of the new tensor in the order of the golden one, None where that is the same.
    """

    golden: str
    new: str
    layout: tuple[int, ...] | None = None


@dataclass(frozen=True)
class PartFile:
    """What stands for one side in the folder: a file, or the path of a model that is too large to copy.

    `file` is None for a dump, of which only the expected or seen values are there. `whole` tells whether it is the
    whole model, and `reason` why it could not be cut. `options` are the options of that side.
    """

    file: Path | None
    whole: bool = False
    copied: bool = True
    options: tuple[str, ...] = ()
    reason: str = ""


@dataclass(frozen=True)
class Shrunk:
    """A difference that was cut down.

    `examples` are the numbers of the examples. `points` are the tensors where the parts begin, and `notes` tell why
    nothing smaller is there.
    """

    folder: Path
    tensor: TensorDiff
    examples: tuple[int, ...]
    points: tuple[CutPoint, ...]
    parts: tuple[PartFile, PartFile]
    notes: tuple[str, ...]

    @property
    def summary(self) -> str:
        """What was written, in one line."""
        count = f"{len(self.examples)} example{'' if len(self.examples) == 1 else 's'}"
        whole = [part.whole for part in self.parts if part.file is not None]
        what = "the whole models" if all(whole) else f"the part that ends at {self.tensor.shown_name}"
        return f"{self.folder}: {what}, with {count}"
