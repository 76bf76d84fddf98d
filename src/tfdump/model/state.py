"""What a run changes in a model (random state, moving averages, the states of stateful layers), and putting it back."""

import keras
from keras import Layer
from keras.random import SeedGenerator

from tfdump.model.structure import owned_operations


class ModelState:
    """The variables that running `model` may change, as they were; `start` seeds them, `restore` puts them back.

    The random state of every layer is set from `seed`, so that runs repeat. States of stateful layers start at zero.
    """

    def __init__(self, model: Layer, seed: int) -> None:
        self._seed = seed
        self._layers = [model, *_owned_layers(model)]
        self._generators = _seed_generators(self._layers)
        variables = [v for layer in self._layers for v in layer._non_trainable_variables]
        variables += [generator.state for generator in self._generators]
        unique = {id(variable): variable for variable in variables}
        self._saved = [(variable, variable.numpy()) for variable in unique.values()]

    def start(self) -> None:
        """Bring the model to where a run begins."""
        self.restore()
        for number, generator in enumerate(self._generators):
            generator.state.assign([self._seed + number, 0])
        for layer in self._layers:
            if getattr(layer, "stateful", False) and hasattr(layer, "reset_state"):
                layer.reset_state()

    def restore(self) -> None:
        """Put back what was there before."""
        for variable, value in self._saved:
            variable.assign(value)


def _owned_layers(model: Layer) -> list[Layer]:
    return [o.operation for o in owned_operations(model).values() if isinstance(o.operation, Layer)]


def _seed_generators(layers: list[Layer]) -> list[SeedGenerator]:
    """Return the seed generators that are attributes of layers, in the order of the layers."""
    found: dict[int, SeedGenerator] = {}
    for layer in layers:
        for value in vars(layer).values():
            if isinstance(value, SeedGenerator):
                found.setdefault(id(value), value)
    return list(found.values())


def start_session(seed: int) -> None:
    """Make what follows independent of what this process did before.

    Automatic names of layers count from the beginning again, and Python, NumPy and TensorFlow are seeded, for
    layers that draw without a generator of their own.
    """
    keras.utils.clear_session()
    keras.utils.set_random_seed(seed)
