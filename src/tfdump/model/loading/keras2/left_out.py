"""The layers of a saved model of Keras 2 that lead to no output, and are not in the model that Keras 3 makes of it."""

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
    """Yield what the graph of a model of Keras 2 has and `model`, which was loaded from it, has not; inner ones too.

    `config` is the model's own configuration as it was saved, `above` the address of the model with a dot behind it.
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
