"""The state that a run changes in a model: random generators, stateful layers and what else is not trained."""

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
from keras import Layer
from keras.random import SeedGenerator

from tfdump.model.any_backend_internals import global_seed_generator
from tfdump.model.recording.ownership import owned_operations


class BackendState:
    """The variables that running `model` may change; `start` resets them for a run.

    A run sets random generators from `seed`, and starts the states of stateful layers at zero. Other variables that are
    not trained get the values that they had when the model was loaded.
    """

    def __init__(self, model: Layer, seed: int) -> None:
        self._seed = seed
        owned = [own.operation for own in owned_operations(model).values() if isinstance(own.operation, Layer)]
        self._layers = [model, *owned]
        held = [item for layer in self._layers for item in _held(list(vars(layer).values()))]
        generators = [item for item in held if isinstance(item, SeedGenerator)] + [global_seed_generator()]
        self._generators = list({id(generator): generator for generator in generators}.values())
        variables = [variable for layer in self._layers for variable in layer.non_trainable_variables]
        variables += [item for item in held if isinstance(item, keras.Variable) and not item.trainable]
        self._saved = [(variable, np.array(variable)) for variable in {id(v): v for v in variables}.values()]
        self._losses = [(layer, list(layer._losses), set(layer._loss_ids)) for layer in self._layers]
        self._drew = self._started = False

    def start(self) -> None:
        """Reset the model to the start of a run."""
        self._drew = self.draws
        for variable, value in self._saved:
            variable.assign(value)
        for generator, begin in self._beginnings():
            generator.state.assign(np.array(begin, "uint32"))
        self._started = True
        for layer in self._layers:
            if getattr(layer, "stateful", False) and hasattr(layer, "reset_state"):
                layer.reset_state()
        self.forget_losses()

    def forget_losses(self) -> None:
        """Take away the losses that calls have added, which would hold their tensors."""
        for layer, losses, identities in self._losses:
            layer._losses[:] = losses
            layer._loss_ids.clear()
            layer._loss_ids.update(identities)

    @property
    def draws(self) -> bool:
        """Whether a random generator moved in any of the runs so far."""
        moved = self._started and any(list(np.asarray(g.state)) != begin for g, begin in self._beginnings())
        return self._drew or moved

    def _beginnings(self) -> Iterator[tuple[SeedGenerator, list[int]]]:
        """Yield every generator with its state at the start of a run, as a run on TensorFlow sets it."""
        for number, generator in enumerate(self._generators):
            yield generator, [(self._seed + number) % 2**32, 0]


def _held(value: Any, nesting: int = 0) -> Iterator[Any]:
    """Yield the variables and seed generators in a value, at up to eight levels of lists, tuples and dicts."""
    if isinstance(value, (keras.Variable, SeedGenerator)):
        yield value
    elif isinstance(value, (list, tuple, dict)) and nesting < 8:
        for item in value.values() if isinstance(value, dict) else value:
            yield from _held(item, nesting + 1)
