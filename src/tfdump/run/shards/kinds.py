"""The kinds of runs that can be divided into shards, and what each of them does."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from tfdump.dump import layout
from tfdump.dump.shards.manifest import Manifest, ShardedPlan
from tfdump.dump.writer import DumpWriter
from tfdump.inputs.source import Source
from tfdump.process.stages import Progress
from tfdump.run.batching import Batches
from tfdump.run.planned import PlannedRun
from tfdump.run.resume import RepeatableProbe
from tfdump.run.shards.activations import ShardedActivations
from tfdump.run.shards.gradients import ShardedGradients
from tfdump.run.shards.job import ShardJob
from tfdump.tensors import Note

if TYPE_CHECKING:
    from tfdump.model.loading.loaded_model import LoadedModel


class ClosableProbe(RepeatableProbe, Protocol):
    """A probe that restores the state of its model in the end."""

    def close(self) -> None:
        """Restore the state of the model."""


class ShardedRun(Protocol):
    """A run of one kind, opened once, of which any part can be written."""

    @property
    def source(self) -> Source:
        """The inputs of the whole run."""

    @property
    def probe(self) -> ClosableProbe:
        """The traced model."""

    @property
    def run(self) -> PlannedRun[Any, Any]:
        """The whole run, when it has been planned."""

    @property
    def batches(self) -> Batches:
        """The batches of the whole run, when it has been planned."""

    def plan(self) -> ShardedPlan:
        """Plan the whole run from its first batch; return the record of the plan."""

    def adopt(self, manifest: Manifest) -> None:
        """Use the plan of a manifest; raises DumpError where it is not of the tensors that the model has here."""

    def write(
        self,
        writer: DumpWriter,
        command: str,
        further: Mapping[str, Any],
        start: int,
        stop: int,
        progress: Progress,
    ) -> None:
        """Write the shard of a part of the examples, counted from the first one of the whole run.

        `further` are more attributes of the root.
        """


class ShardedKind(Protocol):
    """What opens a run of one kind."""

    @staticmethod
    def read(job: ShardJob) -> Any:
        """Open the data of a job, before its model is loaded."""

    def __call__(self, loaded: "LoadedModel", data: Any, job: ShardJob, note: Note) -> ShardedRun:
        """Open the run with what `read` returned; raises TfdumpError as probing the model does."""


KINDS: dict[str, ShardedKind] = {layout.ACTIVATIONS: ShardedActivations, layout.GRADIENTS: ShardedGradients}
"""What opens a run, by the kind of the dump."""
