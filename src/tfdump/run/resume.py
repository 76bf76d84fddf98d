"""Going on with an interrupted run: what its journal keeps is checked and goes into the sinks as if just computed."""

import sys
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from tfdump.dump.journal import Journal, Record
from tfdump.dump.packing import digest, fingerprint
from tfdump.errors import DumpError
from tfdump.inputs.source import Source
from tfdump.process.signals import raise_waiting
from tfdump.process.stages import Progress
from tfdump.run.batching import Batches
from tfdump.run.pipeline import Compute
from tfdump.tensors import Array, Batch, Note, Value, listed


class ResumableSink(Protocol):
    """A sink whose work on a batch has two parts, between which the batch can be kept."""

    def prepare(self, value: Value, examples: int) -> Value:
        """Take the value of one batch into what is summed up; return what of it is to be stored."""

    def store(self, value: Value) -> None:
        """Store what `prepare` returned."""

    def kept(self, value: Value) -> Value:
        """Return as much of what `prepare` returned as `store` looks at."""

    def state(self) -> Any:
        """Return what is summed up so far, as JSON."""

    def restore(self, state: Any) -> None:
        """Bring what is summed up to such a state."""


class Kept:
    """The batches in a journal, between a run and its sinks; `late` are the addresses that came after the first batch.

    A batch may be replayed where its inputs are the same by their SHA-256, so that the dump is that of the inputs as
    they are now. That the model gives the same numbers as then is seen on the first batch and on the last one kept.
    """

    def __init__(self, journal: Journal, sinks: Sequence[ResumableSink], late: set[str], note: Note) -> None:
        self.replayed = 0
        self._journal = journal
        self._sinks = sinks
        self._late = late
        self._note = note

    def replay(self, source: Source, batches: Batches, compute: Compute, progress: Progress) -> list[Array]:
        """Give the sinks what is kept; return the numbers that came beside it.

        Raises DumpError where the inputs, or what the model makes of them, have changed.
        """
        numbers: list[Array] = []
        record = batch = None
        for (start, stop), record in zip(batches, self._journal.records(), strict=False):
            raise_waiting()
            self._check(record)
            batch = source.read(start, stop)
            if digest(batch) != record.about["inputs"]:
                raise self._changed("the inputs are", start, stop)
            if start == 0:
                values, _ = compute(batch, start, stop)
                self._compare(values, record, start, stop)
                for sink, value in zip(self._sinks, values, strict=True):
                    if value is not None:
                        sink.prepare(value, stop)  # constants are compared with the first
            *stored, beside = record.values
            for sink, value, state in zip(self._sinks, stored, record.about["states"], strict=True):
                sink.restore(state)  # what the batches up to this one told, as `store` needs it
                if value is not None:
                    sink.store(value)
            numbers.append(np.array(beside))
            self.replayed = stop
            progress(stop, source.examples)
        if record is not None and batch is not None:
            self._late.update(record.about["late"])
            if start > 0:
                self._compare(compute(batch, start, stop)[0], record, start, stop)
            self._journal.has_records = True
            self._note(f"goes on behind the {self.replayed} examples that {self._journal.path.name} keeps")
        return numbers

    def about(self, batch: Batch, beside: Array) -> dict[str, Any]:
        """Return what is to be known of a batch before it is written."""
        return {"inputs": digest(batch), "late": sorted(self._late), "beside": beside}

    def add(self, values: Sequence[Value | None], examples: int, about: dict[str, Any]) -> None:
        """Keep one batch, and give it to the sinks."""
        raw = fingerprint(values)
        pairs = list(zip(self._sinks, values, strict=True))
        prepared = [None if value is None else sink.prepare(value, examples) for sink, value in pairs]
        stored = [None if v is None else sink.kept(v) for sink, v in zip(self._sinks, prepared, strict=True)]
        described = {"inputs": about["inputs"], "late": about["late"], "raw": raw}
        states = [sink.state() for sink in self._sinks]
        self._journal.append([*stored, about["beside"]], {**described, "states": states})
        for sink, value in zip(self._sinks, prepared, strict=True):
            if value is not None:
                sink.store(value)

    def _check(self, record: Record) -> None:
        """Raise DumpError where a batch has not what this run would have kept of it."""
        about, sinks = record.about, len(self._sinks)
        described = isinstance(about, dict) and about.keys() >= {"inputs", "late", "raw", "states"}
        if not described or (len(record.values), len(about["states"])) != (sinks + 1, sinks):
            raise DumpError(f"{self._journal.path} is no journal that tfdump wrote (remove it to start over)")

    def _compare(self, values: Sequence[Value | None], record: Record, start: int, stop: int) -> None:
        if fingerprint(values) != record.about["raw"]:
            what = "the numbers that the model gives (it draws random ones, or runs on another machine) are"
            raise self._changed(what, start, stop)

    def _changed(self, what: str, start: int, stop: int) -> DumpError:
        return DumpError(
            f"{what} not those of the interrupted run at the examples {start} to {stop - 1} "
            f"(remove {self._journal.path} to start over)"
        )


def code_hashes(imports: Sequence[Path]) -> dict[str, str]:
    """Return the SHA-256 of the files behind `--import`, which have been imported, by their names."""
    found = {}
    for path in imports:
        text = str(path)
        module = sys.modules.get(text)
        file = text if text.endswith(".py") else getattr(module, "__file__", None)
        found[path.name] = sha256(Path(file).read_bytes()).hexdigest() if file else ""
    return found


class Repeatable(Protocol):
    """What tells whether a model gives every batch the same numbers, whatever it ran on before."""

    @property
    def assigned(self) -> list[str]:
        """The names of the variables that the model changes while it runs."""

    @property
    def random(self) -> bool:
        """Whether the model drew random numbers."""


def begin(
    journal: Journal | None,
    probe: Repeatable,
    training: bool,
    root: Mapping[str, Any],
    source: Source,
    batch_size: int,
    note: Note,
) -> Journal | None:
    """Begin a journal, or go on with it; None, which `note` explains, where the model cannot start in the middle.

    What must be the same in both runs is the command, the model, the versions and the batches.
    Raises DumpError where something is not.
    """
    if journal is None:
        return None
    why = _why_not(probe, training)
    if why is not None:
        note(f"--resume: {why}, so an interrupted run has to start over, and nothing is kept")
        return None
    plain = {name: value.item() if isinstance(value, np.generic) else value for name, value in root.items()}
    sizes = {"examples": source.examples, "batch_size": batch_size}
    journal.begin({"command": root["command"], **plain, **sizes})
    return journal


def _why_not(probe: Repeatable, training: bool) -> str | None:
    if training:
        return "with --training, a batch changes what the model makes of the next one"
    if probe.assigned:
        return f"the model changes variables while it runs ({listed(probe.assigned)})"
    return "the model draws random numbers" if probe.random else None
