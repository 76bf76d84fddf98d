"""The layers of a Keras 2 model that lead to no output, so that the Keras 3 model does not contain them."""

from collections.abc import Iterator, Mapping
from typing import Any

from tfdump.address import encode
from tfdump.tensors import NotCaptured

_REASONS = {
    "AddLoss": "Keras 2 saved it for add_loss; Keras 3 has no such layer",
    "AddMetric": "Keras 2 saved it for add_metric; Keras 3 has no such layer",
}
_ASIDE = "it leads to no output, so Keras 3 leaves it out"


def layers_left_out(config: Mapping[str, Any], model: Any, above: str = "") -> Iterator[NotCaptured]:
    """Yield the layers in the graph of a Keras 2 model that `model`, which was loaded from it, does not have.

    This includes inner models. `config` is the configuration as it was saved, and `above` the address of the model
    followed by a dot, or "".
    """
    graph = config.get("config")
    layers = graph.get("layers") if isinstance(graph, dict) and "output_layers" in graph else None
    operations = {operation.name: operation for operation in getattr(model, "operations", ())}
    for layer in layers or ():
        name = str(layer.get("name") or layer["config"]["name"])
        if name in operations:
            yield from layers_left_out(layer, operations[name], f"{above}{encode(name)}.")
        else:
            yield NotCaptured(f"{above}{encode(name)}", _REASONS.get(layer.get("class_name", ""), _ASIDE))
