"""Dumps of both sides of a comparison: of all examples, or of the first ones."""

from dataclasses import replace
from pathlib import Path

from tfdump.process.stages import Progress
from tfdump.side_by_side.model_side import ModelSide
from tfdump.side_by_side.run import SideBySide

SAMPLE_BYTES = 64 << 20
"""About how many bytes the dump of the first examples of one side takes."""


def write_whole_dump(model: ModelSide, target: Path, force: bool, command: str, progress: Progress) -> None:
    """Write the ordinary dump of all examples of one model."""
    with model.run.open_writer(target, force) as writer:
        model.run.write(writer, command, progress)


def sample_size(sides: SideBySide, most_bytes: int = SAMPLE_BYTES) -> int:
    """Return how many of the first examples fit into a dump of about so many bytes; at least one."""
    largest = max(model.run.value_bytes for model in sides.models)
    return max(1, min(sides.examples, most_bytes * sides.examples // max(1, largest)))


def write_sample(model: ModelSide, target: Path, examples: int, command: str) -> None:
    """Write a dump of the first examples of one model, after a run or before it."""
    run = model.run
    run.plan.take_first()
    run.probe.start()
    silent = replace(run, note=lambda text: None)
    calls = model.compute(model.read(0, examples))
    with run.open_writer(target, force=False) as writer:
        silent.write_values(writer, command, calls)
