"""The parameters of a command as records: each function removes from the parameters what it returns."""

from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfdump.address import Selection
from tfdump.captures import Captures
from tfdump.model.loading.options import LoadingOptions

if TYPE_CHECKING:
    from tfdump.cli.comparing.side_by_side import SideOfCommand
    from tfdump.cli.dumping import DumpOutput
    from tfdump.inputs.source import ReadingOptions
    from tfdump.run.options import RunOptions

Parameters = dict[str, Any]
"""The parameters of a command by name, as Click passes them."""


def loading_options_from(parameters: Parameters) -> LoadingOptions:
    """Return the parameters that `model_options` added."""
    take = parameters.pop
    return LoadingOptions(
        take("model"),
        take("imports"),
        take("trust_model"),
        take("signature"),
        take("max_bytes"),
        take("like", None),
        take("backend", None),
        take("backend_python", None),
        take("threads", None),
    )


def sides_from(parameters: Parameters, golden: Path, new: Path) -> "list[SideOfCommand]":
    """Return both sides of a comparison, from what `trust_options` and the options of one side added."""
    from tfdump.cli.comparing.side_by_side import SideOfCommand

    take = parameters.pop
    imports, trust, most = take("imports"), take("trust_model"), take("max_bytes")
    return [
        SideOfCommand(
            LoadingOptions(
                path,
                imports,
                trust,
                take(f"{side}_signature"),
                most,
                backend=take(f"{side}_backend"),
                backend_python=take(f"{side}_backend_python"),
            ),
            take(f"{side}_dequantize"),
        )
        for side, path in (("golden", golden), ("new", new))
    ]


def selection_from(parameters: Parameters) -> Selection:
    """Return the parameters that `selection_options` added."""
    take = parameters.pop
    return Selection(take("layer"), take("exclude"), take("depth"))


def captures_from(parameters: Parameters) -> Captures:
    """Return the parameters that `capture_options` added."""
    return Captures(**{field.name: parameters.pop(field.name) for field in fields(Captures)})


def reading_and_running_from(parameters: Parameters) -> "tuple[ReadingOptions, RunOptions]":
    """Return the parameters that `running_options` added, except `seed` and `eager`; and `preprocess`."""
    from tfdump.inputs.source import ReadingOptions
    from tfdump.run.options import RunOptions

    take = parameters.pop
    reading = ReadingOptions(
        take("pad_value"),
        take("pad_to"),
        take("strict_dtype"),
        take("examples"),
        preprocess=take("preprocess"),
    )
    return reading, RunOptions(take("batch_size"), take("memory"), take("training"))


def dump_output_from(parameters: Parameters, model: Path, kind: str) -> "DumpOutput":
    """Return where a dump of this kind goes, of the parameters that `storing_options` added."""
    from tfdump.cli.dumping import DumpOutput

    take = parameters.pop
    target = take("output") or _default_target(model, kind)
    return DumpOutput(target, take("force"), take("dry_run"), take("resume", False))


_MODEL_SUFFIXES = (".weights.h5", ".weights.json", ".keras", ".h5", ".tflite", ".onnx")


def _default_target(model: Path, kind: str) -> Path:
    """Return the name of a dump of this kind in the working directory."""
    ending = next((suffix for suffix in _MODEL_SUFFIXES if model.name.endswith(suffix)), "")
    return Path(f"{model.name.removesuffix(ending)}.{kind}.h5")
