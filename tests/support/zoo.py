"""From a model to what `tfdump activations` writes of its file, and the same by a second route."""

import contextlib
import gc
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

import tfdump
from support import eager_recorder
from support.eager_recorder import Comparison
from tfdump.cli import main


@dataclass(frozen=True)
class Dumped:
    """What a dump holds: the activations and outputs, why others were not captured, and what was said on stderr."""

    values: dict[str, Any]
    outputs: dict[str, Any]
    missing: dict[str, str]
    stderr: str


def command(*arguments: object) -> tuple[int, str]:
    """Run `tfdump ARGUMENTS...` in this process; return its status and what it said on stderr."""
    with contextlib.redirect_stderr(io.StringIO()) as stderr, contextlib.redirect_stdout(io.StringIO()):
        status = main.run([str(argument) for argument in arguments])
    return status, stderr.getvalue()


def dumped(path: Path, x: Any, *options: object) -> Dumped:
    """Run `tfdump activations` on a model file; `x` is an array, or arrays by the names of inputs.

    Raises AssertionError with the last line of stderr when the command fails.
    """
    inputs, dump = path.parent / f"{path.name}.npz", path.parent / f"{path.name}.h5"
    np.savez(inputs, **({str(key): value for key, value in x.items()} if isinstance(x, Mapping) else {"x": x}))
    status, stderr = command("activations", path, inputs, "-o", dump, "-f", *options)
    assert status == 0, stderr.strip().splitlines()[-1]
    with tfdump.open(dump) as opened:
        groups = [
            {name: opened[f"{group}/{name}"].read() for name in opened.groups.get(group, ())}
            for group in ("activations", "outputs")
        ]
        return Dumped(groups[0], groups[1], {item.address: item.reason for item in opened.not_captured}, stderr)


def fresh() -> None:
    """Begin as a process does: automatic names count from the beginning, and no other model is alive."""
    keras.utils.clear_session()
    gc.collect()


def checked(model: Any, x: Any, folder: Path, *options: object, custom: Mapping[str, Any] | None = None) -> Dumped:
    """Save a model, dump the file, and compare every tensor with an eager pass of the file that Keras loads.

    The model that was saved has to give the same outputs.
    """
    path = folder / "model.keras"
    model.save(path)
    before = keras.tree.flatten(model(x, training=False))
    dump = dumped(path, x, *options)
    fresh()
    loaded = keras.models.load_model(path, compile=False, safe_mode=False, custom_objects=custom)
    _, after = compared(loaded, x, dump)
    for one, other in zip(before, keras.tree.flatten(after), strict=True):
        if one is not None:
            eager_recorder.difference(one, other, "the output")
    return dump


def compared(model: Any, x: Any, dump: Dumped) -> tuple[Comparison, Any]:
    """Compare a dump with an eager pass of a model; return how that went, and the model's outputs."""
    calls, outputs = eager_recorder.record(model, x, training=False)
    return eager_recorder.compare(dump.values, calls, list(dump.missing)), outputs
