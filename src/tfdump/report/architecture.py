"""A summary of a model's configuration."""

from collections import Counter
from typing import Any

from tfdump.report.records import Architecture


def architecture_of(config: Any) -> Architecture | None:
    """Return a summary of a configuration as Keras saves it; None for anything else."""
    if not isinstance(config, dict):
        return None
    inner = config.get("config")
    name = inner.get("name") if isinstance(inner, dict) else None
    counts: Counter[str] = Counter()
    waiting = _below(config)
    while waiting:  # a loop, because a file may nest deeper than Python can call
        layer = waiting.pop()
        counts[str(layer.get("class_name", "?"))] += 1
        waiting += _below(layer)
    layers = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    return Architecture(str(config.get("class_name") or ""), str(name or ""), tuple(layers))


def _below(layer: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the configurations of the layers inside a model or a wrapper."""
    inner = layer.get("config")
    if not isinstance(inner, dict):
        return []
    listed = inner.get("layers")
    layers = [*(listed if isinstance(listed, list) else ())]
    layers += [inner[name] for name in ("layer", "cell", "forward_layer", "backward_layer") if name in inner]
    return [one for one in layers if isinstance(one, dict) and "class_name" in one]
