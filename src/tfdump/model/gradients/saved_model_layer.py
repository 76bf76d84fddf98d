"""A signature of a SavedModel as a Keras layer, so that its outputs can be differentiated with respect to inputs."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from keras import Layer

from tfdump.errors import ModelError
from tfdump.model.loading.loaded_model import LoadedModel
from tfdump.model.saved_model.graph import SavedGraph

_INPUTS = ("inputs",)


class SavedModel(Layer):  # type: ignore[misc]  # Keras carries no types
    """Calls one signature of a SavedModel with a dict of tensors, and returns a dict of its outputs.

    It has no weights, because a SavedModel does not distinguish its weights from its other variables.
    """

    def __init__(self, graph: SavedGraph) -> None:
        super().__init__(autocast=False, trainable=False)
        self.built = True
        self.saved_signature = graph.signature([])
        self._graph = graph

    def call(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Return the outputs of the signature by name."""
        outputs: dict[str, Any] = self._graph.function(**inputs)
        return {name: outputs[name] for name in self._graph.output_names}


def differentiable_model(loaded: LoadedModel, wrt: Sequence[str], training: bool, eager: bool) -> LoadedModel:
    """Return a model that can be differentiated: a Keras model as it is, a SavedModel as a layer.

    Raises ModelError for gradients of weights and activations of a SavedModel.
    """
    if isinstance(loaded.model, Layer):
        return loaded
    refused = [kind for kind in wrt if kind not in _INPUTS]
    if refused:
        raise ModelError(
            f"{loaded.name} is a SavedModel, which has gradients with respect to its inputs only (use --wrt inputs, or "
            f"the .keras file for {' and '.join(refused)})"
        )
    for option, is_set in {"--training": training, "--eager": eager}.items():
        if is_set:
            raise ModelError(
                f"{option} needs a Keras model, but this is a SavedModel, whose operations are fixed (leave it out)"
            )
    return replace(loaded, model=SavedModel(loaded.model))
