"""Descriptions of the tensors of one run."""

from typing import Any

from keras import Layer

from tfdump.address import Candidate
from tfdump.dump.layout import EXECUTED_AS, OPERATION
from tfdump.model.recording.frames import RecordedTensor
from tfdump.model.recording.ownership import class_names
from tfdump.tensors import TensorInfo


def candidate_of(record: RecordedTensor) -> Candidate:
    """Return a recorded tensor as a selection sees it; the type of a layer's last operation counts as a class too."""
    operation = tuple(value for name, value in record.attributes if name == OPERATION)
    within = tuple(Candidate(*way) for way in record.within)
    return Candidate(record.address, (*record.classes, *operation), within)


def record_info(record: RecordedTensor, order: int) -> TensorInfo:
    """Return the description of a recorded tensor; `order` is its position in the run."""
    tensor = record.tensor
    return TensorInfo(
        record.address,
        record.layer,
        record.structure,
        record.classes,
        order,
        tensor.dtype.name,
        declared_shape(tensor),
        record.parameters,
        attributes=(*record.attributes, *(((EXECUTED_AS, record.executed_as),) if record.executed_as else ())),
        inputs=record.inputs,
        operands=record.operands,
    )


def declared_shape(tensor: Any) -> tuple[int, ...] | None:
    """Return a tensor's static shape with -1 where it is open, None where the rank is unknown."""
    if tensor.shape.rank is None:
        return None
    return tuple(-1 if size is None else int(size) for size in tensor.shape)


def output_info(model: Layer, name: str, tensor: Any, order: int, inputs: tuple[str, ...] | None = None) -> TensorInfo:
    """Return the description of a final output of the model; `order` is its position in the run.

    `inputs` is the address of the activation that it is, or of what it was computed from.
    """
    classes = class_names(model)
    return TensorInfo(name, name, name, classes, order, tensor.dtype.name, declared_shape(tensor), inputs=inputs)
