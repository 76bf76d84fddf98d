"""What one run would have written, as records: its tensors with their arrays and attributes, and the whole run."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tfdump.dump.shards.joined_gradients import JoinedLoss, SummedValue
from tfdump.dump.shards.manifest import Manifest
from tfdump.dump.shards.open_shards import OpenShards
from tfdump.dump.shards.stored_forms import StoredForm
from tfdump.dump.shards.tensor_state import CombinedState
from tfdump.tensors import NotCaptured, TensorInfo


@dataclass(frozen=True)
class JoinedTensor:
    """One tensor of the whole run: where it is, what is known about it, its arrays, and its further attributes.

    `state` is what its batches told, or `summed` the gradient of a weight; both are None for what is no tensor of the
    model.
    """

    group: str
    info: TensorInfo
    form: StoredForm
    extra: Mapping[str, Any] = field(default_factory=dict)
    state: CombinedState | None = None
    summed: SummedValue | None = None


@dataclass(frozen=True)
class JoinedRun:
    """What one run would have written.

    `tensors` are those of the model in the order of the plan, and `further` the lengths of inputs and who the examples
    are. `partial` are the tensors of which only some batches could be stored, with the reasons; they are among the
    `not_captured` too. `notes` are what one run would have told about its tensors.
    """

    shards: OpenShards
    tensors: tuple[JoinedTensor, ...]
    further: tuple[JoinedTensor, ...]
    partial: Mapping[str, str]
    root: Mapping[str, Any]
    not_captured: tuple[NotCaptured, ...]
    notes: tuple[str, ...]
    unconnected: tuple[JoinedTensor, ...] = ()
    loss: JoinedLoss | None = None

    @property
    def manifest(self) -> Manifest:
        """The manifest of the shards."""
        return self.shards.manifest
