"""The configuration of a model in a dump: its layers by address, and which layer reads which."""

import re
from collections.abc import Iterator, Sequence
from typing import Any

from tfdump.address import decode, encode, split

LayerSettings = dict[str, Any]

_CALL = re.compile(r"@(\d+)$")
_SAME_NAME = re.compile(r"~(\d+)$")
_INPUT = "InputLayer"


class Configuration:
    """The layers of a model by address; for a subclassed model, those that its configuration names."""

    def __init__(self, config: Any) -> None:
        self._config: LayerSettings = config if isinstance(config, dict) else {}

    def layer(self, address: str) -> LayerSettings | None:
        """Return the configuration of a layer, or None if there is none."""
        here: LayerSettings = self._config
        for segment in address.split(".") if address else []:
            called = _CALL.sub("", segment)
            number = _SAME_NAME.search(called)
            name = decode(_SAME_NAME.sub("", called))
            named = [inner for inner in layers_in(here.get("config")) if inner["config"].get("name") == name]
            position = int(number[1]) if number else 0
            if position >= len(named):
                return None
            here = named[position]
        return here if here is not self._config else None

    def read_by(self, address: str) -> str | None:
        """Return the address of the first layer whose output a layer reads, or None if that is not known."""
        around, _, segment = split(address)[0].rpartition(".")
        parent = self._config if not around else self.layer(around)
        layer = self.layer(split(address)[0])
        if parent is None or layer is None:
            return None
        name, call = self._source(parent, layer, segment)
        if name is None:
            return None
        source = f"{around}.{encode(name)}" if around else encode(name)
        before = self.layer(source) if name else None
        if before is None or before.get("class_name") == _INPUT:
            return self.read_by(around) if around else None
        return source + (f"@{call}" if call else "")

    def last_inside(self, address: str) -> str | None:
        """Return the address of the layer that makes the first output of a model; None if it is not a model."""
        settings = settings_of(self.layer(address))
        names = [name for name in leaves(settings.get("output_layers", [])) if isinstance(name, str)]
        listed = settings.get("layers")
        if not names and isinstance(listed, list) and listed:
            names = [str(settings_of(listed[-1]).get("name"))]
        return f"{address}.{encode(names[0])}" if names else None

    def outputs(self) -> set[str]:
        """Return the addresses of the layers whose outputs are outputs of the model."""
        settings = settings_of(self._config)
        names = {name for name in leaves(settings.get("output_layers", [])) if isinstance(name, str)}
        layers = settings.get("layers")
        if not names and isinstance(layers, list) and layers and self._config.get("class_name") == "Sequential":
            names = {str(settings_of(layers[-1]).get("name"))}
        return names

    @staticmethod
    def _source(parent: LayerSettings, layer: LayerSettings, segment: str) -> tuple[str | None, int]:
        """Return the name of the layer that a call of a layer reads first, and the number of that call.

        The name is None if it is not known, and "" for the input of the model around the layer.
        """
        nodes = layer.get("inbound_nodes")
        call = _CALL.search(segment)
        if isinstance(nodes, list) and nodes:
            return _history(nodes[min(int(call[1]) if call else 0, len(nodes) - 1)])
        listed = settings_of(parent).get("layers")
        if parent.get("class_name") != "Sequential" or not isinstance(listed, list):
            return None, 0
        place = next((number for number, inner in enumerate(listed) if inner is layer), 0)
        return (str(settings_of(listed[place - 1]).get("name")) if place else ""), 0


def settings_of(layer: Any) -> LayerSettings:
    """Return the settings in the configuration of a layer, empty if it is malformed."""
    settings = layer.get("config") if isinstance(layer, dict) else None
    return settings if isinstance(settings, dict) else {}


def layers_in(settings: Any) -> Iterator[LayerSettings]:
    """Yield the configurations of the layers in a configuration, without those inside them."""
    if isinstance(settings, dict):
        if isinstance(settings.get("config"), dict) and "name" in settings["config"] and "class_name" in settings:
            yield settings
            return
        settings = list(settings.values())
    if isinstance(settings, list):
        for item in settings:
            yield from layers_in(item)


def leaves(value: Any) -> Iterator[Any]:
    """Yield the values in nested lists and dicts."""
    if isinstance(value, (list, dict)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from leaves(item)
    else:
        yield value


def _history(node: Any) -> tuple[str | None, int]:
    """Return the layer and the call of the first tensor in a node, as Keras 3 and Keras 2 write them."""
    if isinstance(node, dict):
        history = node.get("keras_history")
        if isinstance(history, list):
            return _named(history)
        node = list(node.values())
    if isinstance(node, list):
        if len(node) >= 3 and isinstance(node[0], str) and isinstance(node[1], int):
            return _named(node)
        for item in node:
            name, call = _history(item)
            if name is not None:
                return name, call
    return None, 0


def _named(history: Sequence[Any]) -> tuple[str | None, int]:
    if len(history) < 2 or not isinstance(history[0], str) or not isinstance(history[1], int):
        return None, 0
    return history[0], history[1]
