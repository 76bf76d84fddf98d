"""The program of the other process, as its code shows: what it imports, and the form of its messages."""

import ast
import io

import ml_dtypes
import numpy as np
import pytest

from support.modules import MODULES
from tfdump.model.backends.wire import BrokenMessage, PipeMessage, read_message, write_message

ALLOWED = {"h5py", "keras", "ml_dtypes", "numpy"}
"""What the environment of a backend has; Keras itself needs ml_dtypes."""

OF_BACKENDS = {"jax", "tensorflow", "torch"}
"""What only functions for one backend import."""


def top_imports(source: str) -> set[str]:
    """The modules that are imported when a module is."""
    names: set[str] = set()
    for node in ast.parse(source).body:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def packages_behind(starts: set[str]) -> set[str]:
    """The packages beside Python's own and tfdump that importing these modules of tfdump imports."""
    waiting, visited, packages = set(starts), set(), set()
    while waiting:
        name = waiting.pop()
        visited.add(name)
        for imported in top_imports(MODULES[name].read_text()):
            if imported in MODULES:
                waiting |= {imported} - visited
            elif imported.split(".")[0] != "tfdump":
                packages.add(imported.split(".")[0])
    import sys

    return packages - sys.stdlib_module_names


def test_the_program_needs_keras_and_what_keras_needs() -> None:
    program = {name for name in MODULES if name.startswith("tfdump.model.backends.program")}
    assert len(program) >= 7
    assert packages_behind({*program, "tfdump.process.supervisor"}) <= ALLOWED


def test_a_module_that_needs_tensorflow_is_seen() -> None:
    assert "tensorflow" in packages_behind({"tfdump.model.recording.recorder"})


def test_only_functions_for_one_backend_import_it() -> None:
    for name, path in MODULES.items():
        if name.startswith("tfdump.model.backends"):
            inside = {
                str(getattr(node, "module", None) or node.names[0].name).split(".")[0]
                for node in ast.walk(ast.parse(path.read_text()))
                if isinstance(node, (ast.Import, ast.ImportFrom))
            }
            assert not inside & OF_BACKENDS or name.endswith(("program.values", "program.environment"))


def through_a_stream(fields: dict[str, object], arrays: list[np.ndarray], cut: int = 0) -> PipeMessage | None:
    """Write a message and read it again, without its last bytes."""
    stream = io.BytesIO()
    write_message(stream.write, fields, arrays)
    data = stream.getvalue()
    read = io.BytesIO(data[: len(data) - cut])
    return read_message(lambda view: read.readinto(view) == len(view))


ARRAYS = [
    np.arange(12, dtype="float32").reshape(3, 4),
    np.array(3.5, "float64"),
    np.zeros((0, 4), "int8"),
    np.array([True, False]),
    np.arange(4).astype(ml_dtypes.bfloat16),
    np.array([1 + 2j], "complex64"),
    np.arange(24, dtype="int64").reshape(2, 3, 4).transpose(2, 0, 1),
    np.array([["a", b"\xff\0"], ["", "\u00fc"]], object),
]


def test_arrays_arrive_as_they_were_sent() -> None:
    message = through_a_stream({"a": [1, None, "x"]}, ARRAYS)
    assert message is not None
    assert message.fields == {"a": [1, None, "x"]}
    assert len(message.arrays) == len(ARRAYS)
    for sent, arrived in zip(ARRAYS, message.arrays, strict=True):
        assert (arrived.dtype, arrived.shape) == (sent.dtype, sent.shape)
        np.testing.assert_array_equal(arrived, sent)


def test_a_stream_that_ends_within_a_message_holds_none() -> None:
    whole = io.BytesIO()
    write_message(whole.write, {}, ARRAYS[:1])
    for cut in range(1, len(whole.getvalue()) + 1):
        assert through_a_stream({}, ARRAYS[:1], cut) is None


def test_other_bytes_are_no_message() -> None:
    stream = io.BytesIO(b"Python 3.11.7 (main, ...)")
    with pytest.raises(BrokenMessage):
        read_message(lambda view: stream.readinto(view) == len(view))
