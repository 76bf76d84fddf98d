"""Checks of a SavedModel directory before TensorFlow loads it: its files and its signatures."""

from pathlib import Path
from typing import Any

import tensorflow as tf
from google.protobuf.message import DecodeError

from tfdump.errors import ModelError
from tfdump.files.formats import SAVED_MODEL_GRAPH
from tfdump.model.tensorflow_internals import SavedModel

_SERVING = "serve"
"""The tag of the graph to run."""

_OWN = "__saved_model"
"""The prefix of the signatures that TensorFlow itself uses."""


def signatures_of(path: Path) -> list[str]:
    """Return the names of the signatures of a SavedModel directory, in order.

    Raises ModelError when files are damaged or missing, or when it has no signature.
    """
    graph = serving_graph(path)
    names = signature_names(graph)
    if not names:
        raise ModelError(_without_signatures(path, graph.object_graph_def))
    return names


def signature_names(graph: Any) -> list[str]:
    """Return the names of the signatures of a graph that users may call, in order."""
    return sorted(name for name in graph.signature_def if not name.startswith(_OWN))


def serving_graph(path: Path) -> Any:
    """Return the graph of a SavedModel directory that is to be run, as data (a `MetaGraphDef`).

    Raises ModelError when files are damaged or missing.
    """
    file = path / SAVED_MODEL_GRAPH
    if not file.exists():
        raise ModelError(f"{path} holds its graph as text, saved_model.pbtxt (save it again with tf.saved_model.save)")
    saved = SavedModel()
    try:
        saved.ParseFromString(file.read_bytes())
    except DecodeError as cause:
        raise ModelError(f"{path} is damaged: its saved_model.pb is not a SavedModel or is truncated") from cause
    except OSError as cause:
        raise ModelError(f"cannot read {file}: {cause.strerror}") from cause
    graphs = [graph for graph in saved.meta_graphs if _SERVING in graph.meta_info_def.tags]
    if not graphs:
        raise ModelError(_without_serving(path, [sorted(graph.meta_info_def.tags) for graph in saved.meta_graphs]))
    if any(node.HasField("variable") for node in graphs[0].object_graph_def.nodes):
        _check_variables(path)
    return graphs[0]


def _without_serving(path: Path, tags: list[list[str]]) -> str:
    """Return the error for a SavedModel whose graphs have other tags, as those of TensorFlow 1 and TF Hub may."""
    if not tags:
        return f"{path} is damaged: its saved_model.pb holds no graph"
    have = "; ".join("no tags" if not some else f"the tags {', '.join(some)}" for some in tags)
    return (
        f"{path} has no graph with the tag '{_SERVING}', but one with {have} (give it that tag: "
        f"m = tf.saved_model.load({str(path)!r}, tags={tags[0]}); "
        "tf.saved_model.save(m, 'NEW', signatures=dict(m.signatures)))"
    )


def _without_signatures(path: Path, objects: Any) -> str:
    """Return the error for a SavedModel without signatures, with code that adds one if its `__call__` is known."""
    try:
        specs = _called_with(objects)
    except (IndexError, TypeError):  # a damaged file may name objects or dtypes that do not exist
        specs = None
    text = f"{path} has no signatures, so it does not say how to call it (model.export writes one"
    if specs is None:
        return f"{text}; so does tf.saved_model.save(model, folder, signatures=...))"
    names = ", ".join("xyz"[: len(specs)] if len(specs) <= len("xyz") else (f"x{n}" for n in range(len(specs))))
    return (
        f"{text}; without the model's code, as for TF Hub: m = tf.saved_model.load({str(path)!r}); "
        f"tf.saved_model.save(m, 'NEW', signatures=tf.function(lambda {names}: m({names}))"
        f".get_concrete_function({', '.join(specs)})))"
    )


def _called_with(objects: Any) -> list[str] | None:
    """Return the specs of the tensors that the root of a SavedModel takes, as Python code.

    The result is None where the root cannot be called, or takes anything but plain tensors.
    """
    children = objects.nodes[0].children if objects.nodes else ()
    calls = [objects.nodes[child.node_id].function for child in children if child.local_name == "__call__"]
    names = [name for call in calls for name in call.concrete_functions]
    if not names:
        return None
    arguments = objects.concrete_functions[names[0]].canonicalized_input_signature.tuple_value.values
    values = arguments[0].tuple_value.values if arguments else ()
    specs = [value.tensor_spec_value for value in values if value.HasField("tensor_spec_value")]
    nested = any(value.WhichOneof("kind") in ("tuple_value", "list_value", "dict_value") for value in values)
    return [_code_of(spec) for spec in specs] if specs and not nested else None


def _code_of(spec: Any) -> str:
    dtype = tf.dtypes.as_dtype(spec.dtype).name
    shape = None if spec.shape.unknown_rank else [None if dim.size < 0 else dim.size for dim in spec.shape.dim]
    return f"tf.TensorSpec({shape})" if dtype == "float32" else f"tf.TensorSpec({shape}, tf.{dtype})"


def _check_variables(path: Path) -> None:
    """Raise ModelError when files of the variables are missing."""
    folder = path / "variables"
    if not (folder / "variables.index").exists():
        raise ModelError(f"{path} is incomplete: variables/variables.index is missing")
    shards = sorted(folder.glob("variables.data-*-of-*"))
    expected = int(shards[0].name.rpartition("-")[2]) if shards else 1
    if len(shards) != expected:
        raise ModelError(
            f"{path} is incomplete: only {len(shards)} of {expected} files variables/variables.data-* exist"
        )
