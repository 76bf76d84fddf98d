"""What `tfdump layers` lists: every tensor that a model gives, without running it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tfdump.address import Selection
from tfdump.captures import NOTHING_MORE, Captures
from tfdump.dtypes import STRING, numpy_dtype
from tfdump.files.limits import allowed
from tfdump.inputs.arguments import Given
from tfdump.inputs.source import ReadingOptions
from tfdump.process.stages import Stage, silent_stage
from tfdump.tensors import NotCaptured, Note

if TYPE_CHECKING:
    from tfdump.model.loading.loaded_model import LoadedModel


@dataclass(frozen=True)
class ListedTensor:
    """One row of the list.

    `shape` has -1 where a size is open, and is None where the rank is; `example_bytes` are the bytes of one
    example, None where they are unknown; `parameters` belong to the layer, the same in every row of it. `inputs` are
    the addresses of the tensors that the layer call reads (`inputs/NAME` for those of the model itself), None where
    they are not known.
    """

    address: str
    class_name: str
    shape: tuple[int, ...] | None
    dtype: str
    parameters: int
    example_bytes: int | None
    inputs: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Listing:
    """The tensors of a model in execution order, and the layers that give none."""

    tensors: tuple[ListedTensor, ...]
    not_captured: tuple[NotCaptured, ...]


def list_tensors(
    loaded: "LoadedModel",
    given: Sequence[Given],
    selection: Selection,
    note: Note,
    captures: Captures = NOTHING_MORE,
    stage: Stage = silent_stage,
) -> Listing:
    """List what a selection would dump; `given` arrays tell the shapes where the model does not declare them.

    `stage` is called with what goes on. Raises ModelError when neither does.
    """
    from tfdump.model.probe import Request
    from tfdump.model.runnable import open_source, probe_declared, probe_source

    request = Request(selection, outputs=False, captures=captures)
    stage("Tracing the model")
    with allowed(loaded.max_bytes):
        if given:
            signature, source = open_source(loaded.model, given, ReadingOptions(), note)
            probe = probe_source(loaded.model, signature, source, request, note)
            if probe.eager:
                probe.run(source.first(signature.batch_size or 2))
        else:
            probe = probe_declared(loaded.model, request, note)
        with probe:
            rows = tuple(
                ListedTensor(
                    probed.info.address,
                    probed.info.class_name,
                    probed.info.shape,
                    probed.info.dtype,
                    probed.info.parameters,
                    example_bytes(probed.info.shape, probed.info.dtype),
                    probed.info.inputs,
                )
                for probed in probe.probed
            )
            return Listing(rows, (*loaded.not_loaded, *probe.not_captured))


def example_bytes(shape: tuple[int, ...] | None, dtype: str) -> int | None:
    """Return the bytes of one example: of everything behind an open first axis, or of the whole fixed shape."""
    if shape is None or dtype == STRING:
        return None
    sizes = shape[1:] if shape and shape[0] == -1 else shape
    return None if -1 in sizes else math.prod(sizes) * numpy_dtype(dtype).itemsize
