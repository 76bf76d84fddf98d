"""The final outputs of a model as a structure: known from its graph, or by running it once."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
from keras import Layer
from keras.src.models.functional import Functional
from keras.src.models.sequential import Sequential

from tfdump.address import member_name
from tfdump.inputs.source import Source
from tfdump.model.recorder import as_tensor
from tfdump.model.signature import Signature, training_argument
from tfdump.model.tracing import Tensors, Traced
from tfdump.tensors import InputSpec


@dataclass(frozen=True)
class Outputs:
    """The outputs of one run: as the model returned them, and flat with their structure paths and names.

    What is no tensor has no name and no path here.
    """

    structure: Any
    paths: tuple[tuple[str | int, ...], ...]
    named: tuple[tuple[str, Any], ...]

    @property
    def names(self) -> list[str]:
        """The names (DESIGN section 4), in order."""
        return [name for name, _ in self.named]


def outputs_of(model: Layer, structure: Any, tensor_of: Callable[[Any], Any] = as_tensor) -> Outputs:
    """Return the outputs of a model with their names; `tensor_of` returns the tensor of a leaf, or None."""
    leaves = [(tuple(path), tensor_of(leaf)) for path, leaf in keras.tree.flatten_with_path(structure)]
    tensors = [(path, tensor) for path, tensor in leaves if tensor is not None]
    paths = tuple(path for path, _ in tensors)
    if paths == ((),):
        return Outputs(structure, paths, ((member_name((_only_output_name(model),)), tensors[0][1]),))
    return Outputs(structure, paths, tuple((member_name(path), tensor) for path, tensor in tensors))


def expected_outputs(model: Layer, signature: Signature, specs: Sequence[InputSpec], source: Source) -> Outputs:
    """Return the outputs that a model will have, symbolic ones where it can tell them without data."""
    functional = model._functional if isinstance(model, Sequential) else model
    if isinstance(functional, Functional):
        structure = functional._outputs_struct
        if isinstance(model, Sequential) and isinstance(structure, (list, tuple)) and len(structure) == 1:
            structure = structure[0]
        return outputs_of(model, structure, tensor_of=lambda leaf: leaf)

    def body(inputs: Tensors) -> Any:
        args, kwargs = signature.arguments(inputs)
        return model(*args, **training_argument(model, False), **kwargs)

    traced = Traced(body, specs, note=lambda text: None)
    if traced.function is not None:
        return outputs_of(model, traced.function.structured_outputs)
    return outputs_of(model, traced.run(source.first(signature.batch_size or 1)))


def _only_output_name(model: Layer) -> str:
    """Return the name of the layer that gives the only output, or `output` where the model does not say."""
    if isinstance(model, Sequential) and model.layers:
        return str(model.layers[-1].name)
    return str(model.output_names[0]) if isinstance(model, Functional) else "output"
