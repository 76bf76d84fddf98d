"""The state that a run changes in a model: random generators, stateful layers and what else is not trained."""

import keras
import numpy as np
from keras import Layer
from keras.random import SeedGenerator

from tfdump.model.recording.run_state import RunState


class BackendState(RunState):
    """The variables that running `model` may change; `start` resets them for a run.

    Variables that are not trained get the values that they had when the model was loaded.
    """

    def __init__(self, model: Layer, seed: int) -> None:
        super().__init__(model, seed, (keras.Variable, SeedGenerator))
        variables = [variable for layer in self._layers for variable in layer.non_trainable_variables]
        variables += [item for item in self._held if isinstance(item, keras.Variable) and not item.trainable]
        self._saved = [(variable, np.array(variable)) for variable in {id(v): v for v in variables}.values()]

    def start(self) -> None:
        """Reset the model to the start of a run."""
        self._drew = self.draws
        for variable, value in self._saved:
            variable.assign(value)
        self.start_generators()
        self.forget_losses()
