"""A signature of a SavedModel as a Keras layer, so that a loss of it can be differentiated with respect to inputs."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from keras import Layer

from tfdump.errors import ModelError
from tfdump.model.loading.loaded_model import LoadedModel
from tfdump.model.saved_model.graph import SavedGraph

_INPUTS = ("inputs",)


class SavedModel(Layer):  # type: ignore[misc]  # Keras carries no types
    """Calls one signature of a SavedModel with a dict of tensors, and returns its outputs as one.

    It has no weights of its own: those of a SavedModel are not told apart from its other variables.
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
    """Return a model whose gradients can be had: a Keras model as it is, a SavedModel as a layer.

    Raises ModelError for what has none: a TFLite file, and the weights and activations of a SavedModel.
    """
    if isinstance(loaded.model, Layer):
        return loaded
    if not isinstance(loaded.model, SavedGraph):
        raise ModelError(
            f"{loaded.name} is a .tflite file, whose operations have no gradients (use the model it was converted "
            "from: a .keras file, or a SavedModel with --wrt inputs)"
        )
    refused = [kind for kind in wrt if kind not in _INPUTS]
    if refused:
        raise ModelError(
            f"{loaded.name} is a SavedModel, of which gradients can be had with --wrt inputs only, not "
            f"{' and '.join(refused)} (for those use the .keras file)"
        )
    for option, is_set in {"--training": training, "--eager": eager}.items():
        if is_set:
            raise ModelError(f"{option} needs a Keras model, and this is a SavedModel, whose operations are fixed")
    return replace(loaded, model=SavedModel(loaded.model))
