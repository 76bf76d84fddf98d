"""The state that a run changes in a model (random state, moving averages, stateful layers), and restoring it."""

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import keras
import tensorflow as tf
from keras import Layer
from keras.random import SeedGenerator

from tfdump.model.any_backend_internals import global_seed_generator
from tfdump.model.keras_internals import GLOBAL_SEED_GENERATOR, global_state
from tfdump.model.recording.run_state import RunState, held_in
from tfdump.model.tracing.side_effects import READING

_HELD = (keras.Variable, tf.Variable, SeedGenerator, keras.Metric)
"""What layers hold beside their weights."""


class ModelState(RunState):
    """The variables that running `model` may change; `start` resets them for a run, `restore` restores them.

    A graph shows which variables it writes (`assigned` has their names). Without a graph, all variables of the
    model are saved.
    """

    def __init__(self, model: Layer, seed: int) -> None:
        _global_generator()  # else Keras draws from Python's random state, when it is asked for it
        super().__init__(model, seed, _HELD)
        self._variables: list[tf.Variable] = []
        self._saved: list[tuple[tf.Variable, Any]] = []
        self.assigned: list[str] = []

    def save(self, graph: Any | None) -> None:
        """Save the variables that running `graph` writes, or all of them where it is None."""
        variables = _all_variables(self._layers, self._held) if graph is None else _written_variables(graph)
        variables += [_tf_variable(generator.state) for generator in self._generators]
        variables += [_tf_variable(item) for item in self._states()]
        self.assigned = [] if graph is None else _assigned_variables(graph, self._generators)
        self._variables = list({id(variable): variable for variable in variables}.values())
        self._saved = [(variable, variable.numpy()) for variable in self._variables]

    def values(self) -> list[Any]:
        """Return the values that the saved variables have now."""
        return [variable.numpy() for variable, _ in self._saved]

    @contextmanager
    def at(self, values: Sequence[Any] | None) -> Iterator[None]:
        """While the body runs, let the model have the state of earlier `values`; None is that at the start of a run."""
        now = self.values()
        if values is None:
            self.start()
        else:
            self._put(values)
        try:
            yield
        finally:
            self._put(now)

    def _put(self, values: Sequence[Any]) -> None:
        for (variable, _), value in zip(self._saved, values, strict=True):
            variable.assign(value)

    def renew(self) -> None:
        """Save the same variables again, after more training.

        Keras may by now have another generator for layers without their own; it gets the same seed as the former one.
        """
        now = _global_generator()
        self._later = None if now is self._general else now
        variables = self._variables + ([] if self._later is None else [_tf_variable(now.state)])
        self._saved = [(variable, variable.numpy()) for variable in variables]
        self._note_losses()

    def _states(self) -> list[Any]:
        """Return the variables that `reset_state` sets to zero."""
        stateful = [layer for layer in self._layers if getattr(layer, "stateful", False)]
        return [item for layer in stateful for item in held_in(getattr(layer, "states", None) or [], _HELD)]

    def start(self) -> None:
        """Reset the model to the start of a run."""
        self._drew = self.draws
        self.restore()
        self.start_generators()

    def restore(self) -> None:
        """Restore the saved variables and losses."""
        for variable, value in self._saved:
            variable.assign(value)
        self.forget_losses()


def _global_generator() -> SeedGenerator:
    """Return Keras's generator for layers without their own; creating it leaves Python's random state alone."""
    if global_state.get_global_attribute(GLOBAL_SEED_GENERATOR) is None:
        copied = random.Random()
        copied.setstate(random.getstate())
        made = SeedGenerator(copied.randint(1, int(1e9)))  # as `keras.src.random.seed_generator.make_default_seed`
        global_state.set_global_attribute(GLOBAL_SEED_GENERATOR, made)
    return global_seed_generator()


def _all_variables(layers: list[Layer], held: list[Any]) -> list[tf.Variable]:
    variables = [variable for layer in layers for variable in layer.variables]
    for item in held:
        variables += item.variables if isinstance(item, keras.Metric) else [getattr(item, "state", item)]
    return [_tf_variable(variable) for variable in variables]


def _uses(graph: Any) -> list[tuple[tf.Variable, set[str]]]:
    """Return the variables of a graph, each with the types of the operations that use it."""
    by_handle = {id(variable.handle): variable for variable in graph.variables}
    return [
        (by_handle[id(outside)], {user.type for user in inside.consumers()})
        for outside, inside in graph.captures
        if id(outside) in by_handle
    ]


def _written_variables(graph: Any) -> list[tf.Variable]:
    """Return the variables that a graph writes, or passes to a loop or branch that may write them."""
    return [variable for variable, users in _uses(graph) if users - READING]


def _assigned_variables(graph: Any, generators: list[SeedGenerator]) -> list[str]:
    """Return the names of the variables that a graph assigns itself, without those of random generators."""
    random_states = {id(_tf_variable(generator.state)) for generator in generators}
    return [
        str(variable.name).partition(":")[0]
        for variable, users in _uses(graph)
        if id(variable) not in random_states and any(user.startswith("Assign") for user in users)
    ]


def _tf_variable(variable: Any) -> tf.Variable:
    return variable.value if isinstance(variable, keras.Variable) else variable


def start_session(seed: int) -> None:
    """Make the following runs independent of what this process did before.

    Automatic names of layers start again. Python, NumPy and TensorFlow are seeded, for layers that draw random numbers
    without a generator of their own.
    """
    keras.utils.clear_session(free_memory=False)  # a collection takes as long as loading a small model
    keras.utils.set_random_seed(seed)
