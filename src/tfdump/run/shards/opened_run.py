"""What the runs of every kind have in common when they are opened to be written in parts."""

from typing import Any, Generic, Protocol, TypeVar

from tfdump.inputs.source import Source
from tfdump.run.batching import Batches


class DividedRun(Protocol):
    """A planned run of any kind."""

    @property
    def plan(self) -> Any:
        """The plan, which has the batches."""


Planned = TypeVar("Planned", bound=DividedRun)


class OpenedRun(Generic[Planned]):
    """A run that `opened` the inputs and traced the model, and that is planned later.

    `_late` are the addresses that only the looks at a few examples called.
    """

    def __init__(self, opened: Any) -> None:
        self._opened = opened
        self._late: list[str] = []
        self._run: Planned | None = None

    @property
    def source(self) -> Source:
        """The data of the whole run."""
        source: Source = self._opened.source
        return source

    @property
    def probe(self) -> Any:
        """The probe, which is closed in the end."""
        return self._opened.probe

    @property
    def run(self) -> Planned:
        """The whole run, when it has been planned."""
        assert self._run is not None
        return self._run

    @property
    def batches(self) -> Batches:
        """The batches of the whole run, when it has been planned."""
        batches: Batches = self.run.plan.batches
        return batches
