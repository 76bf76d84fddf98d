"""What each tensor of a dump was computed from: forward along `inputs` and `operands`, backward against them."""

import json
import re
from bisect import bisect_left
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from tfdump.address import OPERATION, reserved_word, split
from tfdump.checks.records import Finding
from tfdump.dump import layout
from tfdump.dump.attributes import full_name, order_of
from tfdump.dump.graph.backward_order import backward_order
from tfdump.dump.tensor import Tensor

_FORWARD = (layout.INPUTS, layout.ACTIVATIONS, layout.OUTPUTS)
_MODEL_INPUT = f"{layout.INPUTS}/"
_CALL = re.compile(r"@\d+")


@dataclass(frozen=True)
class Reads:
    """What one tensor was computed from.

    `read` and `missing` are names of tensors; the latter were not checked, or are not in the dump. `known` is False if
    the dump does not tell all of them. `exact` tells that no operation without an address stands between.
    """

    read: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    known: bool = True
    exact: bool = False


class TensorGraph(Protocol):
    """The tensors of one pass."""

    order: list[str]

    def sources(self, name: str) -> Reads:
        """Return what a tensor was computed from."""

    def explaining(self, name: str, bad: Mapping[str, Finding]) -> Iterator[str]:
        """Yield the bad tensors from which the bad values of a tensor may come; some may come twice."""


def forward_order(tensors: Iterable[Tensor]) -> list[Tensor]:
    """Return the tensors of the forward pass in its order: inputs, activations, outputs."""
    forward = [tensor for tensor in tensors if tensor.group in _FORWARD]
    return sorted(forward, key=lambda tensor: (_FORWARD.index(tensor.group), order_of(tensor)))


def finest_reads(tensor: Tensor) -> tuple[str, ...] | None:
    """Return the addresses that a tensor was computed from: its operands, or else the inputs of its layer's call."""
    operands = tensor.operands
    return tensor.inputs if operands is None else operands


class ForwardGraph:
    """Inputs, activations and outputs."""

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        forward = forward_order(tensors)
        self.order = [full_name(tensor) for tensor in forward]
        self._tensors = dict(zip(self.order, forward, strict=True))
        self._places = {name: place for place, name in enumerate(self.order)}
        self.tells = any(finest_reads(tensor) is not None for tensor in forward)
        self._layers: tuple[Mapping[str, Finding], list[tuple[str, str]]] = ({}, [])

    def sources(self, name: str) -> Reads:
        """Return what a tensor was computed from; older dumps do not tell it of an output of the model."""
        tensor = self._tensors[name]
        reads = finest_reads(tensor)
        if reads is None:
            return Reads(known=tensor.group == layout.INPUTS)
        names = [read if read.startswith(_MODEL_INPUT) else f"{layout.ACTIVATIONS}/{read}" for read in reads]
        exact = tensor.operands is not None or reserved_word(tensor.address) == OPERATION
        missing = tuple(read for read in names if read not in self._tensors)
        return Reads(tuple(read for read in names if read in self._tensors), missing, True, exact)

    def explaining(self, name: str, bad: Mapping[str, Finding]) -> Iterator[str]:
        """Yield the bad tensors that a tensor reads, or that were computed before it within its layer's call.

        Where it is not known what the tensor reads, that may be anything before it.
        """
        sources = self.sources(name)
        yield from (read for read in sources.read if read in bad)
        if not sources.known or any(not missing.startswith(_MODEL_INPUT) for missing in sources.missing):
            place = self._places[name]
            yield from (other for other in bad if self._places.get(other, place) < place)
        if sources.exact:
            yield from self._same_inside(name, sources, bad)
        elif self._tensors[name].group == layout.ACTIVATIONS:
            yield from self._within_call(name, bad)

    def _same_inside(self, name: str, sources: Reads, bad: Mapping[str, Finding]) -> Iterator[str]:
        """Yield the tensors inside a layer that are its output: a layer may return what its last sublayer returns."""
        layer, own = split(self._tensors[name].address)[0], bad[name]
        for other in self._inside(layer, bad):
            theirs = bad[other]
            if (theirs.count, theirs.index) == (own.count, own.index) and self.sources(other).read == sources.read:
                yield other

    def _within_call(self, name: str, bad: Mapping[str, Finding]) -> Iterator[str]:
        """Yield the bad tensors of a layer's call that were computed before one of its tensors."""
        layer, place = split(self._tensors[name].address)[0], self._places[name]
        for other in (*self._inside(layer, bad), *self._of_layer(layer, bad)):
            if self._places[other] < place:
                yield other
        segments = layer.split(".")
        for depth in range(1, len(segments)):
            for other in self._of_layer(".".join(segments[:depth]), bad):
                if self._places[other] < place and reserved_word(self._tensors[other].address):
                    yield other

    def _inside(self, layer: str, bad: Mapping[str, Finding]) -> Iterator[str]:
        """Yield the bad activations of the layers inside a layer."""
        layers = self._bad_layers(bad)
        for inner, other in layers[bisect_left(layers, (f"{layer}.", "")) :]:
            if not inner.startswith(f"{layer}."):
                return
            yield other

    def _of_layer(self, layer: str, bad: Mapping[str, Finding]) -> Iterator[str]:
        """Yield the bad activations of one layer's call."""
        layers = self._bad_layers(bad)
        for same, other in layers[bisect_left(layers, (layer, "")) :]:
            if same != layer:
                return
            yield other

    def _bad_layers(self, bad: Mapping[str, Finding]) -> list[tuple[str, str]]:
        """Return the bad activations by the addresses of their layers, sorted; kept for the next call."""
        if self._layers[0] is not bad:
            activations = ((name, self._tensors[name]) for name in bad if name in self._tensors)
            layers = [(split(t.address)[0], name) for name, t in activations if t.group == layout.ACTIVATIONS]
            self._layers = (bad, sorted(layers))
        return self._layers[1]


class BackwardGraph:
    """Gradients of activations, inputs and weights: each was computed from those of the tensors that read it.

    `without_gradient` are the addresses of activations that cannot have one.
    """

    def __init__(self, tensors: Sequence[Tensor], without_gradient: Collection[str] = ()) -> None:
        backward = [*backward_order(tensors), *(one for one in tensors if one.group == layout.INPUT_GRADIENTS)]
        self.order = [full_name(tensor) for tensor in backward]
        self._tensors = dict(zip(self.order, backward, strict=True))
        self._places = {name: place for place, name in enumerate(self.order)}
        activations = sorted((one for one in backward if one.group == layout.ACTIVATION_GRADIENTS), key=order_of)
        self.tells = any(finest_reads(tensor) is not None for tensor in activations)
        self._readers: dict[str, list[str]] = {}
        self._outputs: dict[str, list[str]] = {}
        self._calls: dict[str, list[str]] = {}
        for tensor in activations:
            name, layer = full_name(tensor), split(tensor.address)[0]
            for read in finest_reads(tensor) or ():
                self._readers.setdefault(read, []).append(name)
            if not reserved_word(tensor.address):
                self._outputs.setdefault(layer, []).append(name)
                self._calls.setdefault(_CALL.sub("", layer), []).append(name)
        orders = {int(order_of(tensor)) for tensor in activations}
        self._complete = len(orders) + len(without_gradient) > max(orders, default=0) and all(
            finest_reads(tensor) is not None for tensor in activations
        )

    def sources(self, name: str) -> Reads:
        """Return the gradients from which one was computed: none for that of a tensor which only the loss reads.

        A layer of layers is left out where the layers inside it are known to read the tensor.
        """
        tensor = self._tensors[name]
        if tensor.group == layout.WEIGHT_GRADIENTS:
            outputs = self._outputs_of_layers(tensor)
            return Reads(outputs, known=bool(outputs))
        key = f"{_MODEL_INPUT}{tensor.address}" if tensor.group == layout.INPUT_GRADIENTS else tensor.address
        readers = [reader for reader in self._readers.get(key, ()) if reader != name]
        layers = {split(self._tensors[reader].address)[0] for reader in readers}
        outer = {".".join(layer.split(".")[:depth]) for layer in layers for depth in range(1, layer.count(".") + 1)}
        innermost = [reader for reader in readers if split(self._tensors[reader].address)[0] not in outer]
        return Reads(tuple(innermost or self._around(tensor)[-1:]), known=self._complete)

    def explaining(self, name: str, bad: Mapping[str, Finding]) -> Iterator[str]:
        """Yield the bad gradients of what reads a tensor, and of the layers around it, which may read it too.

        Where it is not known what reads the tensor, that may be anything nearer to the loss.
        """
        tensor, sources = self._tensors[name], self.sources(name)
        yield from (reader for reader in sources.read if reader in bad)
        if tensor.group == layout.WEIGHT_GRADIENTS:
            layer = _CALL.sub("", str(tensor.attributes.get("layer", "")))
            yield from (inner for inner in bad if self._is_inside(inner, layer))
        else:
            yield from (outer for outer in self._around(tensor) if outer in bad)
        if not sources.known and not sources.read:
            place = self._places[name]
            yield from (other for other in bad if self._places.get(other, place) < place)

    def _outputs_of_layers(self, weight: Tensor) -> tuple[str, ...]:
        """Return the gradients of the outputs of all calls of the layers that use a weight."""
        layers = [str(weight.attributes.get("layer", ""))]
        layers += [alias.rpartition(".")[0] for alias in _aliases(weight)]
        names = (name for layer in layers for name in self._calls.get(_CALL.sub("", layer), ()))
        return tuple(dict.fromkeys(names))

    def _is_inside(self, name: str, layer: str) -> bool:
        inner = self._tensors.get(name)
        is_activation = inner is not None and inner.group == layout.ACTIVATION_GRADIENTS
        return is_activation and _CALL.sub("", name).startswith(f"{layout.ACTIVATION_GRADIENTS}/{layer}.")

    def _around(self, tensor: Tensor) -> list[str]:
        """Return the gradients of the outputs of the layers around an activation, outermost first."""
        if tensor.group != layout.ACTIVATION_GRADIENTS:
            return []
        segments = split(tensor.address)[0].split(".")
        depths = range(1, len(segments) + (1 if reserved_word(tensor.address) else 0))
        return [name for depth in depths for name in self._outputs.get(".".join(segments[:depth]), ())]


def _aliases(weight: Tensor) -> list[str]:
    """Return the other addresses of a weight."""
    try:
        aliases = json.loads(weight.attributes.get("aliases", "[]"))
    except (TypeError, ValueError, RecursionError):
        return []
    return [str(alias) for alias in aliases] if isinstance(aliases, list) else []
