"""What every run of a model begins with, on every backend: random generators, stateful layers and added losses."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from keras import Layer
from keras.random import SeedGenerator

from tfdump.model.any_backend_internals import global_seed_generator
from tfdump.model.recording.ownership import owned_operations


class RunState:
    """The base of the state of a model; `kinds` are the classes of what layers hold beside their weights.

    Random generators are set from `seed`, so that a run can be repeated.
    """

    def __init__(self, model: Layer, seed: int, kinds: tuple[type, ...]) -> None:
        self._seed = seed
        owned = [own.operation for own in owned_operations(model).values() if isinstance(own.operation, Layer)]
        self._layers: list[Layer] = [model, *owned]
        self._held = [item for layer in self._layers for item in held_in(list(vars(layer).values()), kinds)]
        self._general = global_seed_generator()
        generators = [item for item in self._held if isinstance(item, SeedGenerator)] + [self._general]
        self._generators = list({id(generator): generator for generator in generators}.values())
        self._later: SeedGenerator | None = None
        self._drew = self._started = False
        self._note_losses()

    def start_generators(self) -> None:
        """Set the random generators to the start of a run, and the states of stateful layers to zero."""
        for generator, begin in self._beginnings():
            generator.state.assign(np.array(begin, "uint32"))
        self._started = True
        for layer in self._layers:
            if getattr(layer, "stateful", False) and hasattr(layer, "reset_state"):
                layer.reset_state()

    @property
    def draws(self) -> bool:
        """Whether a random generator moved in any of the runs so far."""
        moved = self._started and any(list(np.asarray(g.state)) != begin for g, begin in self._beginnings())
        return self._drew or moved

    def forget_losses(self) -> None:
        """Take away the losses that calls have added, which would hold their tensors, or keep a graph alive."""
        for layer, losses, identities in self._losses:
            layer._losses[:] = losses
            layer._loss_ids.clear()
            layer._loss_ids.update(identities)

    def _note_losses(self) -> None:
        """Note the losses that each layer has now, with their identities."""
        self._losses = [(layer, list(layer._losses), set(layer._loss_ids)) for layer in self._layers]

    def _beginnings(self) -> Iterator[tuple[SeedGenerator, list[int]]]:
        """Yield every generator with its state at the start of a run, which is the same on every backend."""
        for number, generator in enumerate(self._generators):
            begin = [(self._seed + number) % 2**32, 0]
            yield generator, begin
            if self._later is not None and generator is self._general:
                yield self._later, begin


def held_in(value: Any, kinds: tuple[type, ...], nesting: int = 0) -> Iterator[Any]:
    """Yield what is of some classes in a value, at up to eight levels of lists, tuples and dicts."""
    if isinstance(value, kinds):
        yield value
    elif isinstance(value, (list, tuple, dict)) and nesting < 8:
        for item in value.values() if isinstance(value, dict) else value:
            yield from held_in(item, kinds, nesting + 1)
