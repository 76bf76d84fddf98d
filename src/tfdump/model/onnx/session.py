"""ONNX Runtime, which runs a graph and returns every tensor of it."""

import re
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tfdump.errors import ModelError
from tfdump.files.limits import allowed_bytes
from tfdump.model.error_text import first_line
from tfdump.model.onnx.file import GRAPH_OUTPUT, MODEL_GRAPH, VALUE_NAME, OnnxFile
from tfdump.model.onnx.wire import field_bytes
from tfdump.model.runnable import Runtime
from tfdump.process.requirements import complaint, installed_version
from tfdump.process.signals import waiting
from tfdump.tensors import Array

ONNX_RUNTIME = "onnxruntime"

LONGEST_RUN = 600.0
"""Seconds that a model with a loop may take for one batch."""

_LOOK_EVERY = 0.2
_FATAL = 4
_AS_REQUESTED = 1
"""How the memory grows: by what is asked for, not by powers of two."""

_DTYPES = {"float": "float32", "double": "float64"} | {
    name: name
    for name in ("float16", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "bool", "string")
}
"""The dtypes that ONNX Runtime hands to NumPy, by its own names."""


@dataclass(frozen=True)
class OnnxValue:
    """An input or an output as ONNX Runtime declares it: `shape` has -1 for open axes, and is None if unknown.

    `dtype` is None for what is no tensor, or has a dtype that NumPy does not have; `type` is that of ONNX Runtime.
    """

    name: str
    type: str
    shape: tuple[int, ...] | None

    @property
    def dtype(self) -> str | None:
        """The dtype of NumPy, None where there is none."""
        inner = re.fullmatch(r"tensor\((\w+)\)", self.type)
        return _DTYPES.get(inner[1]) if inner else None


class Session:
    """A model in ONNX Runtime, with every tensor of its main graph as an output.

    It runs on one thread and does not rewrite the graph, so that every tensor is there and the numbers repeat.
    """

    def __init__(self, data: bytes, file: OnnxFile, path: Path, seed: int = 0) -> None:
        runtime = onnx_library()
        self._loops = any(node.kind in ("Loop", "Scan", "SequenceMap") for node in file.graph.all_nodes())
        self._path = path
        self._runtime = runtime
        self._limit = allowed_bytes()
        options = runtime.SessionOptions()
        options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.execution_mode = runtime.ExecutionMode.ORT_SEQUENTIAL
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = _FATAL
        options.use_deterministic_compute = True
        options.add_session_config_entry("session.load_model_format", "ONNX")
        options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(path.parent))
        if self._limit is not None:
            memory = runtime.OrtMemoryInfo(
                "Cpu", runtime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, runtime.OrtMemType.DEFAULT
            )
            runtime.create_and_register_allocator(memory, runtime.OrtArenaCfg(self._limit, _AS_REQUESTED, -1, -1))
            options.add_session_config_entry("session.use_env_allocators", "1")
        runtime.set_seed(seed)
        try:
            self._session = runtime.InferenceSession(
                data + _further_outputs(file),
                options,
                providers=["CPUExecutionProvider"],
                enable_fallback=0,  # it would print, and try the same again
            )
            self.inputs = tuple(_value(value) for value in self._session.get_inputs())
            self.outputs = {value.name: _value(value) for value in self._session.get_outputs()}
        except Exception as cause:  # ONNX Runtime has classes of its own for every reason, all direct ones of Exception
            raise ModelError(_explained(path, cause, file)) from cause

    def run(self, names: Sequence[str], feeds: Mapping[str, Array]) -> list[Any]:
        """Return tensors by their names; raises ModelError when the model fails on the inputs.

        The graph runs on a thread of its own, so that Ctrl-C and the limit of a loop end it.
        """
        options = self._runtime.RunOptions()
        options.log_severity_level = _FATAL
        options.only_execute_path_to_fetches = True
        results: list[Any] = []
        failures: list[BaseException] = []

        def compute() -> None:
            try:
                results.extend(self._session.run(list(names), dict(feeds), options))
            except Exception as cause:  # as above
                failures.append(cause)

        thread = threading.Thread(target=compute, daemon=True)
        thread.start()
        try:
            late = self._wait(thread)
        except BaseException:
            options.terminate = True
            thread.join()
            raise
        if late:
            options.terminate = True
            thread.join()
            raise ModelError(
                f"a loop of {self._path} does not end within {LONGEST_RUN:g} seconds for one batch (lower --batch-size "
                "if the model is only slow)"
            )
        if failures:
            raise ModelError(self._failure(failures[0])) from failures[0]
        return results

    def _wait(self, thread: threading.Thread) -> bool:
        """Wait until the graph has run; tell whether a loop takes too long. Raises what a signal asks for."""
        waited = 0.0
        while True:
            thread.join(_LOOK_EVERY)
            if not thread.is_alive():
                return False
            interruption = waiting()
            if interruption is not None:
                raise interruption
            waited += _LOOK_EVERY
            if self._loops and waited > LONGEST_RUN:
                return True

    def _failure(self, cause: BaseException) -> str:
        text = str(cause)
        if "Available memory of" in text or "Failed to allocate" in text or "bad allocation" in text:
            return (
                f"{self._path} needs more memory than it may have (lower --batch-size, or allow more: --max-bytes): "
                f"{_reason(cause)}"
            )
        return f"the model fails on this input: {_reason(cause)}"


def runtime_of_onnx() -> Runtime:
    """Return ONNX Runtime and its version; raises ModelError where it is missing or too old."""
    version = installed_version(ONNX_RUNTIME)
    if version is None:
        raise ModelError(".onnx files need an extra: pip install 'tfdump[onnx]'")
    wrong = complaint([ONNX_RUNTIME])
    if wrong is not None:
        raise ModelError(wrong)
    return Runtime(ONNX_RUNTIME, version)


def onnx_library() -> Any:
    """Import ONNX Runtime; raises ModelError where that fails."""
    try:
        import onnxruntime
    except ImportError as cause:
        runtime_of_onnx()  # where it is missing or too old, this is the reason
        raise ModelError(
            f"ONNX Runtime cannot be imported: {first_line(cause)} (to reinstall it: pip install --force-reinstall "
            "onnxruntime)"
        ) from cause
    runtime_of_onnx()
    return onnxruntime


def _further_outputs(file: OnnxFile) -> bytes:
    """Return what makes every tensor of the main graph an output, when it is appended to a model.

    A field that occurs twice in protocol buffers is merged, and the outputs of the two graphs add up.
    """
    known = {*file.graph.outputs}
    names = [name for node in file.graph.nodes for name in node.outputs if name and name not in known]
    outputs = b"".join(field_bytes(GRAPH_OUTPUT, field_bytes(VALUE_NAME, name.encode())) for name in names)
    return field_bytes(MODEL_GRAPH, outputs) if names else b""


def _value(value: Any) -> OnnxValue:
    shape = tuple(size if isinstance(size, int) else -1 for size in value.shape)
    return OnnxValue(value.name, value.type, shape or None)


def _explained(path: Path, cause: BaseException, file: OnnxFile) -> str:
    text = str(cause)
    unknown = re.search(r"No Op registered for (\S+) with domain_version of (\d+)", text) or re.search(
        r"(\S+)\(-?\d+\) is not a registered function/op", text
    )
    if unknown:
        return (
            f"{path} needs the operation {unknown[1]}, which ONNX Runtime does not have in opset {file.opset} (export "
            "the model again, or install a newer onnxruntime)"
        )
    return f"ONNX Runtime cannot load {path}: {_reason(cause)}"


def _reason(cause: BaseException) -> str:
    """Return what ONNX Runtime says, without the codes and places of its own sources."""
    text = re.sub(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ", "", first_line(cause))
    return re.sub(r"/onnxruntime_src/\S+ (.*?\) )?", "", text)
