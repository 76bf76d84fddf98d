"""SavedModels: one signature as one flat graph, whose tensors are all available."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import tensorflow as tf

from tfdump.address import Candidate
from tfdump.dtypes import kind_of
from tfdump.errors import ModelError
from tfdump.model.embeddings.saved_lookups import vocabulary_of_placeholder
from tfdump.model.error_text import first_line, raise_interruption
from tfdump.model.file_signatures import choose_signature
from tfdump.model.loading.formats import SAVED_MODEL
from tfdump.model.operations.special_operations import LOOPS
from tfdump.model.request import ProbedTensor, Request
from tfdump.model.runnable import FixedModel, FixedProbe, check_request
from tfdump.model.saved_model.files import signatures_of
from tfdump.model.saved_model.inlining import inlined
from tfdump.model.saved_model.tensors import GraphTensors
from tfdump.model.signature import Signature
from tfdump.model.tensor_info import declared_shape
from tfdump.model.tracing.side_effects import READING
from tfdump.model.tracing.traced import CAUTIOUS_BATCH, Traced, value_of
from tfdump.tensors import Batch, InputSpec, Note, TensorInfo, Value


class SavedGraph(FixedModel):
    """One signature of a SavedModel as a Runnable.

    `function` is the signature's concrete function, and `config` describes its inputs and outputs as JSON text.
    """

    class_name = SAVED_MODEL
    in_words = "a SavedModel"
    differentiable = True

    def __init__(self, owner: Any, name: str, names: Sequence[str]) -> None:
        self._owner = owner  # keeps its variables alive
        self.name = name
        self.function = owner.signatures[name]
        arguments = self.function.structured_input_signature[1]
        self.argument_names = sorted(arguments)  # as TensorFlow flattens them
        self.specs = tuple(_spec(argument, arguments[argument]) for argument in self.argument_names)
        self.output_names = sorted(self.function.structured_outputs)
        outputs = self.function.structured_outputs
        described = {
            "format": SAVED_MODEL,
            "signature": name,
            "signatures": list(names),
            "inputs": [{"name": s.name, "shape": s.shape, "dtype": s.dtype} for s in self.specs],
            "outputs": [
                {"name": output, "shape": _shape(outputs[output].shape), "dtype": outputs[output].dtype.name}
                for output in self.output_names
            ],
        }
        self.config = json.dumps(described)

    def signature(self, array_names: Sequence[str | None]) -> Signature:
        """Return the arguments of the signature."""
        for spec in self.specs:
            if spec.shape == ():
                raise ModelError(
                    f"the signature '{self.name}' takes '{spec.name}', a single number without an example axis, which "
                    "tfdump cannot pass (save a signature in which it is fixed)"
                )
        return Signature(self._specs_with_vocabularies, {name: name for name in self.argument_names}, declared=True)

    @cached_property
    def _specs_with_vocabularies(self) -> tuple[InputSpec, ...]:
        """The inputs, those of integers with the rows of the tables in which they are looked up."""
        if all(kind_of(spec.dtype or "") not in "iu" for spec in self.specs):
            return self.specs
        function = self.function
        nodes = list(inlined(function.graph.as_graph_def(), 0).node)
        placeholders = [tensor.op.name for tensor in function.inputs]
        by_handle = {id(variable.handle): variable for variable in function.variables}
        handles = zip(placeholders[len(self.specs) :], function.captured_inputs, strict=True)
        rows = {
            name: int(by_handle[id(handle)].shape[0])
            for name, handle in handles
            if id(handle) in by_handle and by_handle[id(handle)].shape.rank == 2
        }
        pairs = zip(self.specs, placeholders, strict=False)
        return tuple(
            replace(spec, vocabulary=vocabulary_of_placeholder(nodes, name, rows))
            if kind_of(spec.dtype or "") in "iu"
            else spec
            for spec, name in pairs
        )

    def probe(
        self, signature: Signature, specs: Sequence[InputSpec], request: Request, note: Note
    ) -> "SavedGraphProbe":
        """Return a probe on the graph of the signature."""
        check_request(request, self.in_words)
        if request.dequantize:
            raise ModelError(
                "--dequantize is for quantized .tflite and .onnx files, but this is a SavedModel (leave it out)"
            )
        return SavedGraphProbe(self, specs, request)


class SavedGraphProbe(FixedProbe):
    """The graph of a signature, which returns the requested tensors batch by batch (see RunnableProbe)."""

    def __init__(self, model: SavedGraph, specs: Sequence[InputSpec], request: Request) -> None:
        super().__init__()
        self._model = model
        self._request = request
        self._specs = list(specs)
        self._graph_def = inlined(model.function.graph.as_graph_def(), request.seed)
        self.random = any("seed2" in node.attr for node in self._graph_def.node)
        self._loops = any(node.op in LOOPS for node in self._graph_def.node)
        self._written, self.assigned = self._variables()
        self._saved = [(variable, variable.numpy()) for variable in self._written]
        self._traced = self._trace()

    def _trace(self) -> Traced:
        failures: list[str] = []
        traced = Traced(self._body, self._specs, failures.append)
        if traced.function is None:
            raise ModelError(f"the signature '{self._model.name}' cannot be run: {failures[0]}")
        return traced

    def _body(self, inputs: Mapping[str, Any]) -> list[Any]:
        """Build the graph on the tensors of a batch; set `probed` and return its tensors."""
        function = self._model.function
        graph = tf.compat.v1.get_default_graph()
        captured = [graph.capture(tensor) for tensor in function.captured_inputs]
        fed = {name: inputs[name] for name in self._model.argument_names}
        names = [tensor.op.name for tensor in function.inputs]
        outputs = tf.graph_util.import_graph_def(
            self._graph_def,
            input_map=dict(zip(names, [*fed.values(), *captured], strict=True)),
            return_elements=[tensor.name for tensor in function.outputs],
            name="",
        )
        computed = GraphTensors(graph, fed, outputs, self._known_layers())
        candidates = [Candidate(item.address, (computed.kind(item),)) for item in computed.addressed]
        missing = {item.address: item.reason for item in computed.not_captured}
        selected = self._request.selection.choose(candidates, missing)
        probed = [
            ProbedTensor(computed.info(computed.addressed[number], number), is_output=False) for number in selected
        ]
        tensors = [computed.tensor(computed.addressed[number]) for number in selected]
        if self._request.outputs:
            finals = zip(self._model.output_names, outputs, computed.origins, strict=True)
            for order, (name, tensor, origin) in enumerate(finals, len(candidates)):
                shape = declared_shape(tensor)
                info = TensorInfo(name, name, name, (SAVED_MODEL,), order, tensor.dtype.name, shape, inputs=origin)
                probed.append(ProbedTensor(info, is_output=True))
                tensors.append(tensor)
        self.probed, self.not_captured = tuple(probed), computed.not_captured
        return tensors

    def _known_layers(self) -> frozenset[str]:
        """Return the names of the layers with weights, which are the first parts of the names of the variables."""
        names = (str(variable.name) for variable in self._model.function.variables)
        return frozenset(name.partition("/")[0] for name in names if "/" in name)

    def _variables(self) -> tuple[list[Any], list[str]]:
        """Return the variables that the graph may change, and the names of those that it assigns itself."""
        function = self._model.function
        by_handle = {id(variable.handle): variable for variable in function.variables}
        placeholders = [tensor.op.name for tensor in function.inputs][len(self._model.argument_names) :]
        variables = {
            name: by_handle[id(handle)]
            for name, handle in zip(placeholders, function.captured_inputs, strict=True)
            if id(handle) in by_handle
        }
        written: dict[str, Any] = {}
        assigned = []
        for node in self._graph_def.node:
            for name in node.input:
                if name in variables and node.op not in READING:
                    written[name] = variables[name]
                    assigned += [name] if node.op.startswith("Assign") else []
        return list(written.values()), [str(variables[name].name).partition(":")[0] for name in dict.fromkeys(assigned)]

    @property
    def independent(self) -> bool:
        """Whether batches may run at once: no run affects another one."""
        return self._traced.independent

    @property
    def largest_batch(self) -> int | None:
        """The batch size above which the memory that the graph needs cannot be estimated, or None.

        The memory inside a loop is unknown.
        """
        return CAUTIOUS_BATCH if self._loops else self._traced.largest_batch

    def live_bytes(self, batch: int) -> int:
        """Estimate how many bytes of tensors are alive at once for a batch of this size."""
        return self._traced.live_bytes(batch)

    def start(self) -> None:
        """Restore the variables, and restart random operations, which needs a new graph."""
        self.close()
        if self.random:
            self._traced = self._trace()

    def feed(self, batch: Batch) -> Batch:
        """Return a batch as tensors, which `run` accepts too; raises ModelError where it cannot be converted."""
        return self._traced.feed(batch)

    def run(self, batch: Batch) -> list[Value | None]:
        """Return the values of the probed tensors for one batch; raises ModelError when the model fails on it."""
        return [value_of(tensor) for tensor in self._traced.run(batch)]

    def close(self) -> None:
        """Restore the variables."""
        for variable, value in self._saved:
            variable.assign(value)


def load_saved_model(path: Path, signature: str | None) -> SavedGraph:
    """Load a trusted SavedModel directory; raises ModelError when it is damaged or has no such signature."""
    names = signatures_of(path)
    name = choose_signature(names, signature, path)
    try:
        owner = tf.saved_model.load(str(path))
        return SavedGraph(owner, name, names)
    except ModelError:
        raise
    except (Exception, SystemExit) as cause:  # TensorFlow raises almost any class of error for a bad file
        raise_interruption(cause)
        raise ModelError(f"cannot load {path}: {first_line(cause)}") from cause


def _spec(name: str, spec: Any) -> InputSpec:
    return InputSpec(name, _shape(spec.shape), spec.dtype.name)


def _shape(shape: Any) -> tuple[int | None, ...] | None:
    return None if shape.rank is None else tuple(shape.as_list())
