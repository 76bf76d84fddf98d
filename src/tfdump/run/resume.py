"""Resuming a run: decides what the journal records of each batch, and gives records to the sinks as if just computed.

A record holds what the sinks store of a batch, the numbers beside the values, the hashes of its inputs and of what the
model returned, the late addresses, and the state of each sink. `tfdump.dump.journal` knows only their frames.
"""

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
from tfdump.run.batching import Batches, Compute
from tfdump.tensors import Array, Batch, Note, Value, listed


class ResumableSink(Protocol):
    """A sink that works on a batch in two parts, between which the batch can be written to the journal."""

    def prepare(self, value: Value, examples: int) -> Value:
        """Add the value of one batch to the sums; return what of it is to be stored."""

    def store(self, value: Value) -> None:
        """Store what `prepare` returned."""

    def for_journal(self, value: Value) -> Value:
        """Return the part of what `prepare` returned that `store` reads."""

    def state(self) -> Any:
        """Return the sums so far, as JSON."""

    def restore(self, state: Any) -> None:
        """Set the sums to a state that `state` returned."""


class JournaledBatches:
    """The batches in a journal, between a run and its sinks.

    `late` are the addresses that came after the first batch, and `replayed` is the number of examples that the journal
    supplied. A batch is replayed only where the SHA-256 of its inputs is the same, so that the dump is that of the
    inputs as they are now. The first and the last batch in the journal are computed again, to check that the model
    still gives the same numbers.
    """

    def __init__(self, journal: Journal, sinks: Sequence[ResumableSink], late: set[str], note: Note) -> None:
        self.replayed = 0
        self._journal = journal
        self._sinks = sinks
        self._late = late
        self._note = note

    def replay(self, source: Source, batches: Batches, compute: Compute, progress: Progress) -> list[Array]:
        """Give the batches in the journal to the sinks; return the numbers beside the values, one array per batch.

        Raises DumpError where the inputs have changed, or the numbers that the model gives.
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
                sink.restore(state)  # `store` needs the state after this batch
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
            self._note(f"resumes after {self.replayed} examples, which are in {self._journal.path.name}")
        return numbers

    def about(self, batch: Batch, beside: Array) -> dict[str, Any]:
        """Return what the journal stores of a batch beside its values. It must be asked before the next batch runs."""
        return {"inputs": digest(batch), "late": sorted(self._late), "beside": beside}

    def add(self, values: Sequence[Value | None], examples: int, about: dict[str, Any]) -> None:
        """Add one batch to the journal, and give it to the sinks."""
        raw = fingerprint(values)
        pairs = list(zip(self._sinks, values, strict=True))
        prepared = [None if value is None else sink.prepare(value, examples) for sink, value in pairs]
        stored = [None if v is None else sink.for_journal(v) for sink, v in zip(self._sinks, prepared, strict=True)]
        described = {"inputs": about["inputs"], "late": about["late"], "raw": raw}
        states = [sink.state() for sink in self._sinks]
        self._journal.append([*stored, about["beside"]], {**described, "states": states})
        for sink, value in zip(self._sinks, prepared, strict=True):
            if value is not None:
                sink.store(value)

    def _check(self, record: Record) -> None:
        """Raise DumpError where the record of a batch is not one that this run could have written."""
        about, sinks = record.about, len(self._sinks)
        described = isinstance(about, dict) and about.keys() >= {"inputs", "late", "raw", "states"}
        if not described or (len(record.values), len(about["states"])) != (sinks + 1, sinks):
            raise DumpError(f"{self._journal.path} is not a journal that tfdump wrote (remove it to start over)")

    def _compare(self, values: Sequence[Value | None], record: Record, start: int, stop: int) -> None:
        if fingerprint(values) != record.about["raw"]:
            what = "the numbers that the model gives (it draws random numbers, or runs on another machine) are"
            raise self._changed(what, start, stop)

    def _changed(self, what: str, start: int, stop: int) -> DumpError:
        return DumpError(
            f"{what} not those of the interrupted run in examples {start} to {stop - 1} "
            f"(remove {self._journal.path} to start over)"
        )


def code_hashes(imports: Sequence[Path]) -> dict[str, str]:
    """Return the SHA-256 of the modules that `--import` imported, by name; "" for a module without a file."""
    hashes = {}
    for path in imports:
        text = str(path)
        module = sys.modules.get(text)
        file = text if text.endswith(".py") else getattr(module, "__file__", None)
        hashes[path.name] = sha256(Path(file).read_bytes()).hexdigest() if file else ""
    return hashes


class RepeatableProbe(Protocol):
    """A probe that tells whether its model gives a batch the same numbers, whatever batches it ran on before."""

    @property
    def assigned(self) -> list[str]:
        """The names of the variables that the model changes while it runs."""

    @property
    def random(self) -> bool:
        """Whether the model drew random numbers."""


def begin(
    journal: Journal | None,
    probe: RepeatableProbe,
    training: bool,
    root: Mapping[str, Any],
    source: Source,
    batch_size: int,
    note: Note,
) -> Journal | None:
    """Begin or resume a journal; return None, with a note, where the model cannot start at a later batch.

    The command, the model, the versions and the batches must be the same in both runs. Raises DumpError where one of
    them is not.
    """
    if journal is None:
        return None
    why = _why_not(probe, training)
    if why is not None:
        note(f"--resume: {why}, so an interrupted run must start over; no journal is written")
        return None
    plain = {name: value.item() if isinstance(value, np.generic) else value for name, value in root.items()}
    sizes = {"examples": source.examples, "batch_size": batch_size}
    journal.begin({"command": root["command"], **plain, **sizes})
    return journal


def _why_not(probe: RepeatableProbe, training: bool) -> str | None:
    if training:
        return "with --training, each batch changes the numbers that the model gives for the next one"
    if probe.assigned:
        return f"the model changes variables while it runs ({listed(probe.assigned)})"
    return "the model draws random numbers" if probe.random else None
