"""The interface of a model and of its probe, the same for every format in which a model can be saved.

This module imports neither TensorFlow nor Keras: some formats run without them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, Self

from tfdump.errors import ModelError
from tfdump.inputs.input_array import InputArray, array_names_of
from tfdump.inputs.matching import match
from tfdump.inputs.preprocessing import preprocessed
from tfdump.inputs.source import ReadingOptions, Source
from tfdump.model.applications.preprocessing import preprocessed_by_keras
from tfdump.model.patches import Patch, PatchedRuns, State
from tfdump.model.request import ProbedTensor, Request
from tfdump.model.signature import Signature
from tfdump.model.weights.records import ModelWeights, WeightRequest
from tfdump.tensors import Batch, InputSpec, NotCaptured, Note, Value


class RunnableProbe(Protocol):
    """A model that returns the requested tensors batch by batch; see `tfdump.model.probe.Probe`."""

    probed: tuple[ProbedTensor, ...]
    not_captured: tuple[NotCaptured, ...]
    late: set[str]
    turns: bool
    """Whether the examples may be along any axis of a tensor, not only along the first one."""

    @property
    def eager(self) -> bool:
        """Whether `probed` is known only after the first run."""

    @property
    def assigned(self) -> list[str]:
        """The names of the variables that the model changes while it runs."""

    @property
    def random(self) -> bool:
        """Whether the model drew random numbers in the runs so far, as far as that is known."""

    @property
    def independent(self) -> bool:
        """Whether batches may run at once, on several threads: no run affects another one."""

    @property
    def largest_batch(self) -> int | None:
        """The batch size above which the memory that is needed cannot be estimated, or None."""

    def live_bytes(self, batch: int) -> int:
        """Estimate how many bytes of tensors are alive at once for a batch of this size."""

    def takes(self, examples: int) -> bool:
        """Prepare for batches of another size than the model declares; return False where the model rejects them."""

    def turn(self, orders: Mapping[int, tuple[int, ...]]) -> None:
        """Return some tensors with their axes in another order from now on, by their places in `probed`."""

    def start(self) -> None:
        """Reset the model to the start of a run."""

    def feed(self, batch: Batch) -> Batch:
        """Return a batch in the form that `run` takes fastest; it no longer needs the arrays."""

    def run(self, batch: Batch) -> list[Value | None]:
        """Return the values of the probed tensors for one batch, in the order of `probed`."""

    def state(self) -> State:
        """Return the values of what a run changes in the model; None where no run changes anything."""

    def patched(self, patches: Sequence[Patch]) -> PatchedRuns | None:
        """Return the same model with patches; None where it cannot have any."""

    def forget(self) -> None:
        """Let the next run of an eager model determine `probed` again."""

    def renew(self) -> None:
        """Let `close` restore the state that the model has now."""

    def close(self) -> None:
        """Restore the state of the model."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...


class FixedProbe:
    """The base of probes on a model that is no object of Keras here, such as a graph that its file fixes.

    By default no run changes the model. It takes batches of the declared size alone, and one after the other.
    """

    probed: tuple[ProbedTensor, ...]
    not_captured: tuple[NotCaptured, ...]
    assigned: list[str]
    random = False
    turns = False

    def __init__(self) -> None:
        self.late: set[str] = set()

    @property
    def eager(self) -> bool:
        """False: `probed` is known from the start."""
        return False

    @property
    def independent(self) -> bool:
        """Whether batches may run at once."""
        return False

    @property
    def largest_batch(self) -> int | None:
        """None: the memory can be estimated for every batch size."""
        return None

    def turn(self, orders: Mapping[int, tuple[int, ...]]) -> None:
        """Do nothing: no axis is looked for."""

    def takes(self, examples: int) -> bool:
        """Return False: a graph of a fixed batch size takes no other size."""
        return False

    def start(self) -> None:
        """Do nothing: no run changes what the next one gives."""

    def feed(self, batch: Batch) -> Batch:
        """Return the batch as it is."""
        return batch

    def state(self) -> State:
        """Return None: no run changes anything."""
        return None

    def patched(self, patches: Sequence[Patch]) -> PatchedRuns | None:
        """Return None: the graph is fixed by its file."""
        return None

    def forget(self) -> None:
        """Do nothing: the tensors stay the same."""

    def renew(self) -> None:
        """Do nothing: the model of a file is not trained."""

    def close(self) -> None:
        """Do nothing: no run changes the model."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Runnable(Protocol):
    """A model that can be called.

    `class_name` is its class in a dump, and `float_dtype` the dtype of floats where it declares none.
    """

    class_name: str
    float_dtype: str

    def signature(self, array_names: Sequence[str | None]) -> Signature:
        """Return how the model is called; `array_names` are the names of the arrays of the user, None for no name."""

    def probe(self, signature: Signature, specs: Sequence[InputSpec], request: Request, note: Note) -> RunnableProbe:
        """Return a probe for inputs of these shapes; raises ModelError for a request that does not apply."""


@dataclass(frozen=True)
class Runtime:
    """The package that computes the numbers of a model file instead of TensorFlow's graphs, and its version.

    `keras_version` is that of Keras in another process, None where the numbers are computed in this one.
    """

    package: str
    version: str
    keras_version: str | None = None


class FixedModel:
    """The base of models that this process sees from outside only: a graph in a file, or a model in another process.

    `in_words` is its kind in a message. `differentiable` tells whether its operations have gradients, and `runtime` is
    None for a graph of TensorFlow. `computes` is False where there is nothing that could run.
    """

    class_name: str
    in_words: str
    float_dtype = "float32"
    differentiable = False
    computes = True
    runtime: Runtime | None = None

    def signature(self, array_names: Sequence[str | None]) -> Signature:
        """Return the inputs."""
        raise NotImplementedError

    def probe(self, signature: Signature, specs: Sequence[InputSpec], request: Request, note: Note) -> RunnableProbe:
        """Return a probe on the graph."""
        raise NotImplementedError

    def model_weights(self, request: WeightRequest, note: Note) -> ModelWeights:
        """Return the weights in the file; raises ModelError where they cannot be read, or not as the request asks."""
        raise ModelError(f"the weights of {self.in_words} cannot be dumped (use the model that it was made from)")


def runnable(model: Any) -> Runnable:
    """Return a Keras model as a Runnable; the model of another format is one."""
    if isinstance(model, FixedModel):
        return model
    from tfdump.model.keras_model import KerasModel

    return KerasModel(model)


def check_gradients(model: Any, name: str) -> None:
    """Raise ModelError for a model whose operations have no gradients; `name` is that of its file."""
    if isinstance(model, FixedModel) and not model.differentiable:
        raise ModelError(
            f"{name} is {model.in_words}, whose operations have no gradients (use the model that it was "
            "converted from: a .keras file, or a SavedModel with --wrt inputs)"
        )


def check_request(request: Request, what: str) -> None:
    """Raise ModelError for options that need the layers of a Keras model; `what` names the kind of model instead.

    Operations are probed in every case.
    """
    options = {"--training": request.training, "--eager": request.eager}
    captures = replace(request.captures, ops=False).options
    for option in [*(name for name, is_set in options.items() if is_set), *captures]:
        raise ModelError(f"{option} needs a Keras model, but this is {what}, whose operations are fixed (leave it out)")


def open_source(
    model: Any, arrays: Sequence[InputArray], reading: ReadingOptions, note: Note
) -> tuple[Signature, Source]:
    """Match arrays to the inputs of a model; return how it is called, and the arrays as a source of batches.

    Raises InputError where they do not fit.
    """
    callable_model = runnable(model)
    signature = callable_model.signature(array_names_of(arrays))
    readers = preprocessed(match(arrays, signature.specs), signature.specs, reading.preprocess, preprocessed_by_keras)
    reading = replace(reading, float_dtype=callable_model.float_dtype)
    return signature, Source(signature.specs, readers, reading, note)


def probe_source(model: Any, signature: Signature, source: Source, request: Request, note: Note) -> RunnableProbe:
    """Return a probe of a model for the shapes and dtypes of a source."""
    specs = [InputSpec(c.name, (signature.batch_size, *c.shape[1:]), c.dtype) for c in source.columns]
    return runnable(model).probe(signature, specs, request, note)


def probe_declared(model: Any, request: Request, note: Note) -> RunnableProbe:
    """Return a probe of a model for the input shapes that it declares.

    Raises ModelError when it declares none, or cannot be traced without data.
    """
    callable_model = runnable(model)
    signature = callable_model.signature([])
    failures: list[str] = []
    probe = callable_model.probe(signature, signature.declared_specs(), request, failures.append)
    if probe.eager:
        raise ModelError(f"{failures[0] if failures else 'the model cannot be traced'} (add an INPUT to run it on)")
    return probe
