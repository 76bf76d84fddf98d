"""What the rest of tfdump needs of a model, whatever it was saved as, and of a probe on it."""

from collections.abc import Sequence
from typing import Any, Protocol, Self

from keras import Layer

from tfdump.errors import ModelError
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
