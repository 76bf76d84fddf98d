"""The weights of a model as records, the same for every kind of file; this module imports no library.

A file of another kind gives its weights as `ModelWeights` too: see `tfdump.model.runnable.FixedModel.model_weights`.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tfdump.address import Candidate
from tfdump.dump import layout
from tfdump.tensors import Array, NotCaptured, TensorInfo


@dataclass(frozen=True)
class WeightRequest:
    """What of the weights is wanted.

    `dequantize` gives quantized weights as the real numbers that they stand for. `optimizer` adds the variables of the
    optimizer.
    """

    dequantize: bool = False
    optimizer: bool = False


@dataclass(frozen=True)
class WeightTensor:
    """One tensor of a dump of weights.

    `candidate` has the addresses and classes by which it can be selected. `read` returns its values, in the dtype of
    `info`, and is called when they are written. `group` is the group of the dump.
    """

    info: TensorInfo
    candidate: Candidate
    read: Callable[[], Array]
    group: str = layout.WEIGHTS


@dataclass(frozen=True)
class ModelWeights:
    """The weights of a model in order, and those that cannot be read, with the reasons.

    `advice` says how to list the weights, for a pattern that matches none of them.
    """

    tensors: tuple[WeightTensor, ...]
    not_captured: tuple[NotCaptured, ...] = ()
    advice: str = "list them: tfdump weights MODEL --dry-run"


def weight_attributes(
    trainable: bool | None, aliases: Sequence[str] = (), **further: Any
) -> tuple[tuple[str, Any], ...]:
    """Return the attributes of a weight beyond those of every tensor.

    `trainable` is None where the file does not tell. A further attribute that is None is left out.
    """
    attributes: dict[str, Any] = {} if trainable is None else {layout.TRAINABLE: trainable}
    if aliases:
        attributes["aliases"] = json.dumps(list(aliases))
    attributes |= {name: value for name, value in further.items() if value is not None}
    return tuple(attributes.items())
