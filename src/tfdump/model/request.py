"""What is asked of a model, and what is known of each tensor that it returns."""

from dataclasses import dataclass, field

from tfdump.address import Selection
from tfdump.captures import Captures
from tfdump.tensors import TensorInfo


@dataclass(frozen=True)
class Request:
    """What to return of a model (the selected tensors, and the final outputs with `outputs`), and how to run it.

    With `listing`, only the descriptions of the tensors are needed, and the values of inputs do not matter.
    """

    selection: Selection
    outputs: bool = True
    training: bool = False
    seed: int = 0
    eager: bool = False
    captures: Captures = field(default_factory=Captures)
    dequantize: bool = False
    listing: bool = False


@dataclass(frozen=True)
class ProbedTensor:
    """One tensor that a probe returns: what is known of it, and whether it is a final output of the model."""

    info: TensorInfo
    is_output: bool
