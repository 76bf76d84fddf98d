"""A SavedModel directory looked at before TensorFlow loads it: is all of it there, and which signatures it has."""

from pathlib import Path

from google.protobuf.message import DecodeError

from tfdump.errors import ModelError, near
from tfdump.model.tensorflow_internals import SavedModel

_DEFAULT = "serving_default"
_OWN = "__saved_model"
"""How the names of signatures begin that TensorFlow itself uses."""


def signatures_of(path: Path) -> list[str]:
    """Return the names of the signatures of a SavedModel directory, in order.

    Raises ModelError when files are damaged or missing, or when it has no signature.
    """
    file = path / "saved_model.pb"
    if not file.exists():
        raise ModelError(f"{path} holds its graph as text (saved_model.pbtxt); save it again with tf.saved_model.save")
    saved = SavedModel()
    try:
        saved.ParseFromString(file.read_bytes())
    except DecodeError as cause:
        raise ModelError(f"{path} is damaged: its saved_model.pb is not a SavedModel or is truncated") from cause
    except OSError as cause:
        raise ModelError(f"cannot read {file}: {cause.strerror}") from cause
    graphs = [graph for graph in saved.meta_graphs if "serve" in graph.meta_info_def.tags]
    if not graphs:
        raise ModelError(f"{path} is damaged: its saved_model.pb holds no graph for serving")
    if any(node.HasField("variable") for node in graphs[0].object_graph_def.nodes):
        _check_variables(path)
    names = sorted(name for name in graphs[0].signature_def if not name.startswith(_OWN))
    if not names:
        raise ModelError(
            f"{path} has no signatures, so it does not say how to call it (model.export writes one; so does "
            "tf.saved_model.save(model, folder, signatures=...))"
        )
    return names


def chosen_signature(names: list[str], wanted: str | None, path: Path) -> str:
    """Return the signature that was asked for; without a wish `serving_default`, else the only one.

    Raises ModelError where there is no such one, or several to choose from.
    """
    if wanted is not None:
        if wanted not in names:
            raise ModelError(f"{path} has no signature '{wanted}'{near(wanted, names)} (it has: {', '.join(names)})")
        return wanted
    if _DEFAULT in names:
        return _DEFAULT
    if len(names) > 1:
        raise ModelError(f"{path} has several signatures; choose one with --signature: {', '.join(names)}")
    return names[0]


def _check_variables(path: Path) -> None:
    """Raise ModelError when the files of the variables are not all there."""
    folder = path / "variables"
    if not (folder / "variables.index").exists():
        raise ModelError(f"{path} is incomplete: variables/variables.index is missing")
    shards = sorted(folder.glob("variables.data-*-of-*"))
    expected = int(shards[0].name.rpartition("-")[2]) if shards else 1
    if len(shards) != expected:
        raise ModelError(
            f"{path} is incomplete: {len(shards)} of {expected} files variables/variables.data-* are there"
        )
