"""What the rest of tfdump needs of a model, whatever it was saved as, and of a probe on it."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Protocol, Self

from keras import Layer

from tfdump.errors import ModelError
from tfdump.inputs.arguments import InputArray
from tfdump.inputs.matching import match
from tfdump.inputs.source import ReadingOptions, Source
from tfdump.model.probe import Probe, Probed, Request
from tfdump.model.signature import Signature, float_dtype_of, signature_of
from tfdump.tensors import Batch, InputSpec, NotCaptured, Note, Value


class RunnableProbe(Protocol):
    """A model ready to give the requested tensors, batch by batch; see `tfdump.model.probe.Probe`."""

    probed: tuple[Probed, ...]
    not_captured: tuple[NotCaptured, ...]
    late: set[str]

    @property
    def eager(self) -> bool:
        """Whether `probed` is known only after the first run."""

    @property
    def assigned(self) -> list[str]:
        """The names of the variables that the model changes while it runs."""

    @property
    def random(self) -> bool:
        """Whether the model drew random numbers in the runs so far, as far as that can be told."""

    @property
    def independent(self) -> bool:
        """Whether batches may be run at once, on several threads: no run shows in another one."""

    @property
    def largest_batch(self) -> int | None:
        """The batch size above which the memory that is needed is anybody's guess, or None."""

    def live_bytes(self, batch: int) -> int:
        """Return about how many bytes of tensors live at once at this batch size."""

    def takes(self, examples: int) -> bool:
        """Get ready for batches of another size than the one that the model fixes; False where it refuses them."""

    def start(self) -> None:
        """Bring the model to where a run begins."""

    def feed(self, batch: Batch) -> Batch:
        """Return what `run` takes as well as the arrays of a batch, and which does not need them any more."""

    def run(self, batch: Batch) -> list[Value | None]:
        """Return the values of the probed tensors for one batch, in the order of `probed`."""

    def forget(self) -> None:
        """Let the next run of an eager model decide anew which tensors there are."""

    def renew(self) -> None:
        """Take the model as it is now for what `close` puts it back to."""

    def close(self) -> None:
        """Put the model back to what it was."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...


class Runnable(Protocol):
    """A model that can be called: `class_name` is what a dump calls it, `float_dtype` that of undeclared floats."""

    class_name: str
    float_dtype: str

    def signature(self, given: Sequence[str | None]) -> Signature:
        """Return how the model is called; `given` are the names of the arrays, None for no name."""

    def probe(self, signature: Signature, specs: Sequence[InputSpec], request: Request, note: Note) -> RunnableProbe:
        """Return a probe for inputs of these shapes; raises ModelError for a request that makes no sense here."""


class KerasModel:
    """A Keras model as something to run."""

    def __init__(self, model: Layer) -> None:
        self.class_name = type(model).__name__
        self.float_dtype = float_dtype_of(model)
        self._model = model

    def signature(self, given: Sequence[str | None]) -> Signature:
        """Return how the model is called."""
        return signature_of(self._model, given)

    def probe(self, signature: Signature, specs: Sequence[InputSpec], request: Request, note: Note) -> RunnableProbe:
        """Return a probe that watches the layers."""
        if request.dequantize:
            raise ModelError("--dequantize is for quantised .tflite files, and this is a Keras model (leave it out)")
        return Probe(self._model, signature, specs, request, note)


def runnable(model: Any) -> Runnable:
    """Return a Keras model as something to run; what is that already, as it is."""
    found: Runnable = KerasModel(model) if isinstance(model, Layer) else model
    return found


def check_request(request: Request, what: str) -> None:
    """Raise ModelError for options that need the layers of a Keras model; `what` is what was given instead."""
    options = {"--training": request.training, "--eager": request.eager}
    for option in [*(name for name, given in options.items() if given), *request.captures.options]:
        raise ModelError(f"{option} needs a Keras model, and this is {what}, whose operations are fixed (leave it out)")


def open_source(
    model: Any, given: Sequence[InputArray], reading: ReadingOptions, note: Note
) -> tuple[Signature, Source]:
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
