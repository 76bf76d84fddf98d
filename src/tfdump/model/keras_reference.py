"""A Keras model as a reference for the names of a converted file: its operations, and the outputs of its layers."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from keras import Layer

from tfdump.errors import ModelError
from tfdump.model.keras_signature import signature_of, training_argument
from tfdump.model.operations.node_names import node_name
from tfdump.model.operations.owners import NamePart, Owner
from tfdump.model.operations.reference import PRODUCTS, KerasOperation, KerasOutput, Reference
from tfdump.model.operations.roles import OperationOutput, Role, roles_of
from tfdump.model.operations.scopes import LayerPlace, Scopes
from tfdump.model.operations.special_operations import beside_loops, extra_copies, reads_of
from tfdump.model.outputs import named_outputs
from tfdump.model.recording.frames import RecordedTensor
from tfdump.model.recording.recorder import Recorder
from tfdump.model.state import ModelState
from tfdump.model.tensor_info import declared_shape
from tfdump.model.tracing.traced import Traced
from tfdump.tensors import Array, InputSpec

_WITH_CONSTANT = PRODUCTS | {"BiasAdd", "Add", "AddV2", "Mul", "Sub", "RealDiv"}


def keras_reference(model: Layer) -> Reference:
    """Return the operations of a Keras model; raises ModelError where it cannot be traced without data."""
    signature = signature_of(model, [])
    specs = []
    for spec in signature.specs:
        shape = spec.built or spec.shape
        if shape is None and not spec.optional:
            raise ModelError(f"the Keras model does not declare the shape of its input '{spec.name}'")
        if shape is not None and not spec.optional:
            specs.append(InputSpec(spec.name, shape, spec.dtype or "float32"))
    state, failures = ModelState(model, 0), list[str]()
    graphs: list[_KerasGraph] = []

    def body(inputs: Mapping[str, Any]) -> list[Any]:
        recorder = Recorder(model)
        args, kwargs = signature.arguments(inputs)
        with recorder.watching(inputs):
            outputs = model(*args, **training_argument(model, False), **kwargs)
        graphs.append(_KerasGraph(inputs, recorder.records, list(named_outputs(model, outputs).named)))
        return graphs[-1].constants

    try:
        traced = Traced(body, specs, failures.append)
        state.save(traced.graph)
        if traced.function is None:
            raise ModelError(f"the Keras model cannot name a converted file: {failures[0]}")
        zeros = {spec.name: _zeros(spec) for spec in specs}
        constants = [np.asarray(tensor) for tensor in traced.run(zeros)]
    finally:
        state.restore()
    return graphs[-1].reference(constants)


class _KerasGraph:
    """The graph that is being traced; `constants` are the tensors that stand for weights in its operations."""

    def __init__(
        self, inputs: Mapping[str, Any], records: Sequence[RecordedTensor], finals: Sequence[tuple[str, Any]]
    ) -> None:
        graph = tf.compat.v1.get_default_graph()
        self._tensors = [tensor for operation in graph.get_operations() for tensor in operation.outputs]
        self._place = {tensor.name: position for position, tensor in enumerate(self._tensors)}
        self._records = records
        self._finals = finals
        fed = {tensor.name for tensor in inputs.values() if isinstance(tensor, tf.Tensor)}
        self._originals = [self._original(tensor) for tensor in self._tensors]
        described = [
            OperationOutput(
                tensor.name,
                tensor.op.type,
                tuple(self._originals[self._place[read.name]] for read in reads_of(tensor)),
                is_input=tensor.name in fed,
            )
            for tensor in self._tensors
        ]
        wanted = [position for tensor in self._output_tensors() if (position := self._position(tensor)) is not None]
        idle = beside_loops(self._tensors) | extra_copies(self._tensors)
        roles = roles_of(described, wanted, idle)
        self._data = [
            position
            for position, role in enumerate(roles)
            if role is Role.DATA and self._originals[position] == position
        ]
        self._follows = {position for position, role in enumerate(roles) if role in (Role.DATA, Role.INPUT)}
        self._numbers = {position: number for number, position in enumerate(self._data)}
        self._reads = {position: described[position].reads for position in self._data}
        self._operands = {p: operand for p in self._data if (operand := self._constant_operand(p)) is not None}
        self.constants = [self._tensors[position] for position in self._operands.values()]

    def _output_tensors(self) -> list[Any]:
        return [*(record.tensor for record in self._records), *(tensor for _, tensor in self._finals)]

    def _original(self, tensor: Any) -> int:
        """Return the position of the tensor of which a tensor is a copy, or its own."""
        while tensor.op.type == "Identity":
            tensor = tensor.op.inputs[0]
        return self._place[tensor.name]

    def _position(self, tensor: Any) -> int | None:
        known = isinstance(tensor, tf.Tensor) and tensor.name in self._place
        return self._originals[self._place[tensor.name]] if known else None

    def _constant_operand(self, position: int) -> int | None:
        """Return the operand of an operation that follows from weights alone, where the other one is data."""
        kind, reads = self._tensors[position].op.type, self._reads[position]
        if kind not in _WITH_CONSTANT or len(reads) < 2:
            return None
        data = [read for read in reads if read in self._follows]
        if len(data) != 1 or (kind in ("Sub", "RealDiv") and reads[0] != data[0]):
            return None
        return reads[1] if reads[1] != data[0] else reads[0]

    def reference(self, constants: Sequence[Array]) -> Reference:
        """Return the reference, with the values of `constants`."""
        values = dict(zip(self._operands, constants, strict=True))
        names = [self._tensors[position].op.name for position in self._data]
        scopes = Scopes(names)
        operations = [
            KerasOperation(
                self._tensors[position].op.type,
                self._part(position, scopes),
                tuple(self._numbers[read] for read in self._reads[position] if read in self._numbers),
                values.get(position),
            )
            for position in self._data
        ]
        finals = [(name, self._number(tensor)) for name, tensor in self._finals]
        return Reference(operations, self._outputs(), [(name, n) for name, n in finals if n is not None])

    def _number(self, tensor: Any) -> int | None:
        position = self._position(tensor)
        return None if position is None else self._numbers.get(position)

    def _outputs(self) -> list[KerasOutput]:
        return [
            KerasOutput(r.address, r.executed_as or r.address, r.layer, number, declared_shape(r.tensor))
            for r in self._records
            if (number := self._number(r.tensor)) is not None
        ]

    def _part(self, position: int, scopes: Scopes) -> NamePart:
        tensor = self._tensors[position]
        place = scopes.place(tensor.op.name)
        if tensor.value_index:  # a converter gives a name only to the operation
            place = LayerPlace(place.layers, (*place.own, f":{tensor.value_index}"))
        owner = Owner(place.layers) if place.layers else Owner((), node_name(place.own[:1]))
        return NamePart(owner, place)


def _zeros(spec: InputSpec) -> Array:
    shape = tuple(size or 1 for size in spec.shape or ())
    return np.full(shape, "", object) if spec.dtype == "string" else np.zeros(shape, spec.dtype or "float32")
