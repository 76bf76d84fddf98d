"""The list that `tfdump layers` prints: every tensor of a model, without running it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tfdump.address import Selection
from tfdump.captures import NOTHING_MORE, Captures
from tfdump.dtypes import STRING, numpy_dtype
from tfdump.dump.layout import OPERATION, SOURCE
from tfdump.files.limits import allowed
from tfdump.inputs.input_array import InputArray
from tfdump.inputs.source import ReadingOptions
from tfdump.process.stages import Stage, silent_stage
from tfdump.tensors import NotCaptured, Note, TensorInfo

if TYPE_CHECKING:
    from tfdump.model.loading.loaded_model import LoadedModel


@dataclass(frozen=True)
class ListedTensor:
    """One tensor of a model.

    Attributes
    ----------
    address : str
        The address of the tensor.
    class_name : str
        The class of the layer that returns it.
    shape : tuple of int or None
        The shape, with -1 for a size that is not known before the model runs; None where the rank is not known.
    dtype : str
        The dtype in which the model computes it.
    parameters : int
        The number of parameters of the layer, the same for all tensors of one layer.
    example_bytes : int or None
        The bytes of one example, None where they are not known.
    inputs : tuple of str or None
        The addresses of the tensors that the layer call reads (`inputs/NAME` for an input of the model), None where
        they are not known.
    operands : tuple of str or None
        The addresses of the tensors that the last operation of the layer reads. Only outputs of layers have them, in a
        listing that also has operations.
    operation : str or None
        For the output of a layer: the type of that operation.
    source : str or None
        The line of code that makes the operation, such as `my_layers.py:42`.
    """

    address: str
    class_name: str
    shape: tuple[int, ...] | None
    dtype: str
    parameters: int
    example_bytes: int | None
    inputs: tuple[str, ...] | None = None
    operands: tuple[str, ...] | None = None
    operation: str | None = None
    source: str | None = None


@dataclass(frozen=True)
class Listing:
    """The tensors of a model in execution order, and the layers that were not captured."""

    tensors: tuple[ListedTensor, ...]
    not_captured: tuple[NotCaptured, ...]


def list_tensors(
    loaded: "LoadedModel",
    arrays: Sequence[InputArray],
    selection: Selection,
    note: Note,
    captures: Captures = NOTHING_MORE,
    stage: Stage = silent_stage,
) -> Listing:
    """List the tensors that a selection would dump.

    `arrays` are needed only where the model does not declare the shapes of its inputs. `stage` is called with the name
    of each stage. Raises ModelError where the shapes are not known.
    """
    from tfdump.model.request import Request
    from tfdump.model.runnable import open_source, probe_declared, probe_source

    request = Request(selection, outputs=False, captures=captures, listing=True)
    stage("Tracing the model")
    with allowed(loaded.max_bytes):
        if arrays:
            signature, source = open_source(loaded.model, arrays, ReadingOptions(), note)
            probe = probe_source(loaded.model, signature, source, request, note)
            if probe.eager:
                probe.run(source.first(signature.batch_size or 2))
        else:
            probe = probe_declared(loaded.model, request, note)
        with probe:
            rows = tuple(_listed(probed.info) for probed in probe.probed)
            return Listing(rows, (*loaded.not_loaded, *probe.not_captured))


def _listed(info: TensorInfo) -> ListedTensor:
    attributes = dict(info.attributes)
    return ListedTensor(
        info.address,
        info.class_name,
        info.shape,
        info.dtype,
        info.parameters,
        example_bytes(info.shape, info.dtype),
        info.inputs,
        info.operands,
        attributes.get(OPERATION),
        attributes.get(SOURCE),
    )


def example_bytes(shape: tuple[int, ...] | None, dtype: str) -> int | None:
    """Return the bytes of one example, or of a whole tensor of fixed shape; None where they are not known."""
    if shape is None or dtype == STRING:
        return None
    sizes = shape[1:] if shape and shape[0] == -1 else shape
    return None if -1 in sizes else math.prod(sizes) * numpy_dtype(dtype).itemsize
