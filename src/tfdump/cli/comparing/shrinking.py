"""Cuts down what differs for the command line, and says what was written, or why nothing was."""

import os
from collections.abc import Sequence
from pathlib import Path

from tfdump.cli.progress import notes
from tfdump.cli.verbosity import Verbosity
from tfdump.comparison.options import DiffOptions
from tfdump.comparison.verdict import DiffReport
from tfdump.inputs.input_array import InputArray
from tfdump.model.loading.options import LoadingOptions
from tfdump.process.stages import Stage
from tfdump.side_by_side.run import SideBySide
from tfdump.side_by_side.shrink.records import NothingShrunk, ShrinkRequest, SideSource
from tfdump.side_by_side.shrink.shrink import shrink_difference
from tfdump.tensors import listed


def request_from(
    folder: Path, force: bool, sides: Sequence[tuple[LoadingOptions, bool]], arrays: Sequence[InputArray], seed: int
) -> ShrinkRequest:
    """Return what is asked for; `sides` are the options of both models, and whether they are dequantized."""
    (golden, _), _ = sides
    options = ["--trust-model"] if golden.trust else []
    for module in golden.imports:
        place = os.path.relpath(module, folder) if module.suffix == ".py" else str(module)
        options += ["--import", place]
    options += ["--seed", str(seed)] if seed else []
    sources = [SideSource(model.path, dequantize, model.signature) for model, dequantize in sides]
    inputs = listed(Path(array.label).name for array in arrays)
    return ShrinkRequest(folder, force, sources[0], sources[1], tuple(options), inputs)


def shrink_and_say(
    pair: SideBySide,
    report: DiffReport,
    options: DiffOptions,
    request: ShrinkRequest,
    verbosity: Verbosity,
    stage: Stage,
) -> None:
    """Write the folder with what differs, and say what it holds on stderr."""
    note = notes(verbosity)
    try:
        shrunk = shrink_difference(pair, report, options, request, stage)
    except NothingShrunk as cause:
        note(f"nothing was written to {request.folder}: {cause}")
        return
    for text in shrunk.notes:
        note(text)
    note(f"wrote {shrunk.summary}")
