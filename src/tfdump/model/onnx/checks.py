"""What is checked of an `.onnx` file before ONNX Runtime reads it."""

import os
from collections.abc import Iterable
from pathlib import Path, PurePosixPath, PureWindowsPath

from tfdump.errors import ModelError
from tfdump.files.limits import allowed_bytes, check_bytes
from tfdump.model.onnx.file import OnnxFile, OnnxGraph, OnnxTensor

_KNOWN_DOMAINS = frozenset(
    {"", "ai.onnx.ml", "ai.onnx.preview", "ai.onnx.preview.training", "ai.onnx.training", "com.microsoft"}
    | {"com.microsoft.experimental", "com.microsoft.nchwc", "com.ms.internal.nhwc"}
)
"""The domains whose operations ONNX Runtime has."""

_MOST_STEPS = 1 << 31
"""Steps of a loop. At a microsecond each, more of them take more than half an hour."""


def check_file(file: OnnxFile, path: Path) -> None:
    """Raise ModelError for a file that ONNX Runtime cannot run, or that would take too much memory or time."""
    _check_operations(file, path)
    _check_loops(file.graph, path)
    _check_order(file.graph, path)
    check_constants(file, path)


def check_constants(file: OnnxFile, path: Path) -> None:
    """Raise ModelError for constants that would take too much memory, or are outside of the folder of the model."""
    constants = list(file.graph.all_constants())
    whole = sum(constant.bytes for constant in constants)
    check_bytes(whole, allowed_bytes(), f"the constants that {path} declares take", ModelError)
    for constant in constants:
        _check_external(constant, path)


def external_files(file: OnnxFile, path: Path) -> list[Path]:
    """Return the files beside a model in which its constants are."""
    places = {constant.external.get("location", "") for constant in file.graph.all_constants() if constant.external}
    return [path.parent / place for place in sorted(places)]


def _check_operations(file: OnnxFile, path: Path) -> None:
    nodes = [*file.graph.all_nodes(), *file.function_nodes]
    custom = {
        node.title
        for node in nodes
        if node.domain not in _KNOWN_DOMAINS and f"{node.domain}:{node.kind}" not in file.functions
    }
    if custom:
        raise ModelError(
            f"{path} needs custom operations ({', '.join(sorted(custom))}), which ONNX Runtime does not have and "
            "tfdump does not load (export the model with operations of the ONNX standard)"
        )
    if not file.graph.nodes:
        raise ModelError(f"{path} is an ONNX model without operations")


def _check_loops(graph: OnnxGraph, path: Path) -> None:
    """Raise ModelError for a loop whose number of steps is a constant that is too large."""
    for node in graph.nodes:
        for inner in node.graphs:
            _check_loops(inner, path)
        steps = graph.constants.get(node.inputs[0]) if node.kind == "Loop" and node.inputs else None
        if steps is None or steps.values is None or steps.values.size != 1:
            continue
        if int(steps.values.reshape(())) > _MOST_STEPS and not (len(node.inputs) > 1 and node.inputs[1]):
            raise ModelError(
                f"{path}: the loop '{node.name or node.outputs[0]}' has {int(steps.values.reshape(())):,} steps, which "
                "would take hours"
            )


def _check_order(graph: OnnxGraph, path: Path) -> None:
    """Raise ModelError where a tensor is computed twice, or read before it is computed."""
    computed = {name for node in graph.nodes for name in node.outputs if name}
    known = {*graph.inputs, *graph.constants}
    for node in graph.nodes:
        early = next((name for name in (*node.inputs, *node.outer) if name in computed and name not in known), None)
        if early is not None:
            raise ModelError(f"{path} is damaged: '{node.name or node.kind}' reads '{early}' before it is computed")
        twice = next((name for name in node.outputs if name and name in known), None)
        if twice is not None:
            raise ModelError(f"{path} is damaged: '{twice}' is computed twice")
        known.update(name for name in node.outputs if name)


def _check_external(constant: OnnxTensor, path: Path) -> None:
    """Raise ModelError for numbers outside of the folder of the model, or that are not there."""
    if constant.external is None:
        return
    place = constant.external.get("location", "")
    what = f"{path}: the numbers of '{constant.name}' are in '{place}'"
    if not place or "\0" in place or _leads_out(PurePosixPath(place).parts) or _leads_out(PureWindowsPath(place).parts):
        raise ModelError(f"{what}, which is not inside the folder of the model, so they are not read")
    file = path.parent
    for part in PurePosixPath(place).parts:
        file = file / part
        if file.is_symlink():
            raise ModelError(f"{what}, which is a link, so they are not read (put the file itself there)")
    if not file.is_file():
        raise ModelError(f"{what}, but there is no such file (put it beside the model)")
    start, length = (_size(constant, name, path) for name in ("offset", "length"))
    if start + (length or constant.bytes) > os.stat(file).st_size:
        raise ModelError(f"{what}, which is too short: the file is truncated")


def _leads_out(parts: Iterable[str]) -> bool:
    parts = list(parts)
    return ".." in parts or any(part.startswith(("/", "\\")) or ":" in part for part in parts[:1])


def _size(constant: OnnxTensor, name: str, path: Path) -> int:
    text = (constant.external or {}).get(name, "0")
    if not text.isascii() or not text.isdigit() or len(text) > 20:
        raise ModelError(f"{path} is damaged: the {name} of the numbers of '{constant.name}' is '{text[:40]}'")
    return int(text)
