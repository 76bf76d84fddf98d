"""The final outputs of a model as a structure, taken from its graph or from one run."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
from keras import Layer, Sequential

from tfdump.address import member_name
from tfdump.dump.layout import OUTPUTS
from tfdump.inputs.source import Source
from tfdump.model.any_backend_internals import Functional
from tfdump.model.keras_internals import unpack_singleton
from tfdump.model.keras_signature import training_argument
from tfdump.model.output_names import only_output_name
from tfdump.model.recording.tensors import as_tensor, obstacles_in
from tfdump.model.signature import Signature
from tfdump.model.state import ModelState
from tfdump.model.tracing.traced import Tensors, Traced
from tfdump.tensors import InputSpec, NotCaptured


@dataclass(frozen=True)
class Outputs:
    """The outputs of one run: `structure` as the model returned them, and the tensors in it with `paths` and names.

    A leaf that is not a tensor has neither a path nor a name; `not_captured` lists the leaves that hold data but cannot
    be stored. `layers` are the names of the layers that return the outputs, if the model knows them.
    """

    structure: Any
    paths: tuple[tuple[str | int, ...], ...]
    named: tuple[tuple[str, Any], ...]
    layers: tuple[str, ...] = ()
    not_captured: tuple[NotCaptured, ...] = ()

    def canonical(self, name: str) -> str:
        """Return the name of an output; `name` may also be that of the layer that returns it, as Keras allows."""
        if name in self.names or self.layers.count(name) != 1:
            return name
        return self.names[self.layers.index(name)]

    @property
    def names(self) -> list[str]:
        """The names (docs/format.md), in order."""
        return [name for name, _ in self.named]


def named_outputs(model: Layer, structure: Any, tensor_of: Callable[[Any], Any] = as_tensor) -> Outputs:
    """Return the outputs of a model with their names; `tensor_of` returns the tensor of a leaf, or None."""
    leaves = [(tuple(path), tensor_of(leaf)) for path, leaf in keras.tree.flatten_with_path(structure)]
    tensors = [(path, tensor) for path, tensor in leaves if tensor is not None]
    paths = tuple(path for path, _ in tensors)
    obstacles = tuple(
        NotCaptured(f"{OUTPUTS}/{member_name(path or (only_output_name(model),))}", reason)
        for path, reason in obstacles_in(structure)
    )
    if paths == ((),):
        return Outputs(structure, paths, ((member_name((only_output_name(model),)), tensors[0][1]),))
    layers = tuple(map(str, getattr(model, "output_names", ())))
    named = tuple((member_name(path), tensor) for path, tensor in tensors)
    return Outputs(structure, paths, named, layers if len(layers) == len(named) else (), obstacles)


def expected_outputs(model: Layer, signature: Signature, specs: Sequence[InputSpec], source: Source) -> Outputs:
    """Return the outputs that a model will have; they are symbolic where the model can be traced without data."""
    if _returns_its_graph(model):
        functional = model._functional if isinstance(model, Sequential) else model
        structure = unpack_singleton(functional._outputs_struct)  # as `Functional.call` does
        return named_outputs(model, structure, tensor_of=lambda leaf: leaf)

    def body(inputs: Tensors) -> Any:
        args, kwargs = signature.arguments(inputs)
        return model(*args, **training_argument(model, False), **kwargs)

    state = ModelState(model, seed=0)
    try:
        traced = Traced(body, specs, note=lambda text: None)
        if traced.function is not None:
            return named_outputs(model, traced.function.structured_outputs)
        state.save(None)
        return named_outputs(model, traced.run(source.first(signature.batch_size or 1)))
    finally:
        state.restore()


def _returns_its_graph(model: Layer) -> bool:
    """Tell whether a call returns the outputs of the graph that Keras holds; a subclass may override `call`."""
    if isinstance(model, Sequential):
        return isinstance(model._functional, Functional) and type(model).call is Sequential.call
    return isinstance(model, Functional) and type(model).call is Functional.call
