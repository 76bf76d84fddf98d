"""A model opened for running: how it is called, with which shapes, and the probe on it."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from tfdump.errors import ModelError
from tfdump.inputs.arguments import Given
from tfdump.inputs.matching import match
from tfdump.inputs.source import ReadingOptions, Source
from tfdump.model.probe import Request
from tfdump.model.runnable import RunnableProbe, runnable
from tfdump.model.signature import Signature
from tfdump.tensors import InputSpec, Note


def open_source(model: Any, given: Sequence[Given], reading: ReadingOptions, note: Note) -> tuple[Signature, Source]:
    """Match the given arrays to the inputs of the model.

    Raises InputError where they do not fit.
    """
    callable_model = runnable(model)
    signature = callable_model.signature([item.name for item in given])
    readers = match(given, signature.specs)
    reading = replace(reading, float_dtype=callable_model.float_dtype)
    return signature, Source(signature.specs, readers, reading, note)


def probe_source(model: Any, signature: Signature, source: Source, request: Request, note: Note) -> RunnableProbe:
    """Return the probe of a model for the shapes and dtypes of a source."""
    specs = [InputSpec(c.name, (signature.batch_size, *c.shape[1:]), c.dtype) for c in source.columns]
    return runnable(model).probe(signature, specs, request, note)


def probe_declared(model: Any, request: Request, note: Note) -> RunnableProbe:
    """Return the probe of a model for the shapes that it declares.

    Raises ModelError when it declares none, or cannot be traced without data.
    """
    callable_model = runnable(model)
    signature = callable_model.signature([])
    specs = []
    for spec in signature.specs:
        if spec.optional:
            continue
        shape = spec.built or spec.shape
        if shape is None:
            raise ModelError(
                f"the model does not declare the shape of its input '{spec.name}'; add an INPUT to look at"
            )
        specs.append(InputSpec(spec.name, shape, spec.dtype or "float32"))
    failures: list[str] = []
    probe = callable_model.probe(signature, specs, request, failures.append)
    if probe.eager:
        raise ModelError(f"{failures[0] if failures else 'the model cannot be traced'}; add an INPUT to look at")
    return probe
