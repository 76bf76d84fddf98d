"""The state that a run changes in a model (random state, moving averages, stateful layers), and restoring it."""

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import Layer
from keras.random import SeedGenerator

from tfdump.model.any_backend_internals import global_seed_generator
from tfdump.model.keras_internals import GLOBAL_SEED_GENERATOR, global_state
from tfdump.model.recording.ownership import owned_operations
from tfdump.model.tracing.side_effects import READING


class ModelState:
    """The variables that running `model` may change; `start` resets them for a run, `restore` restores them.

    A run sets random generators from `seed`, so that it can be repeated, and starts the states of stateful layers at
    zero. A graph shows which variables it writes (`assigned` has their names). Without a graph, all variables of the
    model are saved.
    """

    def __init__(self, model: Layer, seed: int) -> None:
        self._seed = seed
        self._layers = [model, *_owned_layers(model)]
        held = [item for layer in self._layers for item in _held(list(vars(layer).values()))]
        self._general = _global_generator()
        generators = [item for item in held if isinstance(item, SeedGenerator)] + [self._general]
        self._generators = list({id(generator): generator for generator in generators}.values())
        self._later: SeedGenerator | None = None
        self._held = held
        self._variables: list[tf.Variable] = []
        self._saved: list[tuple[tf.Variable, Any]] = []
        self._losses = _losses_of(self._layers)
        self.assigned: list[str] = []
        self._drew = self._started = False

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
        self._losses = _losses_of(self._layers)

    def _states(self) -> list[Any]:
        """Return the variables that `reset_state` sets to zero."""
        stateful = [layer for layer in self._layers if getattr(layer, "stateful", False)]
        return [item for layer in stateful for item in _held(getattr(layer, "states", None) or [])]

    def start(self) -> None:
        """Reset the model to the start of a run."""
        self._drew = self.draws
        self.restore()
        for generator, begin in self._beginnings():
            generator.state.assign(begin)
        self._started = True
        for layer in self._layers:
            if getattr(layer, "stateful", False) and hasattr(layer, "reset_state"):
                layer.reset_state()

    @property
    def draws(self) -> bool:
        """Whether a random generator moved in any of the runs so far."""
        moved = self._started and any(list(np.asarray(g.state)) != begin for g, begin in self._beginnings())
        return self._drew or moved

    def _beginnings(self) -> Iterator[tuple[SeedGenerator, list[int]]]:
        """Yield every generator with its state at the start of a run."""
        for number, generator in enumerate(self._generators):
            begin = [(self._seed + number) % 2**32, 0]
            yield generator, begin
            if self._later is not None and generator is self._general:
                yield self._later, begin

    def restore(self) -> None:
        """Restore the saved variables and losses."""
        for variable, value in self._saved:
            variable.assign(value)
        for layer, losses, identities in self._losses:  # the losses of a graph would keep it alive
            layer._losses[:] = losses
            layer._loss_ids.clear()
            layer._loss_ids.update(identities)


def _losses_of(layers: list[Layer]) -> list[tuple[Layer, list[Any], set[int]]]:
    """Return the losses that each layer added, with their identities."""
    return [(layer, list(layer._losses), set(layer._loss_ids)) for layer in layers]


def _owned_layers(model: Layer) -> list[Layer]:
    return [o.operation for o in owned_operations(model).values() if isinstance(o.operation, Layer)]


def _global_generator() -> SeedGenerator:
    """Return Keras's generator for layers without their own; creating it leaves Python's random state alone."""
    if global_state.get_global_attribute(GLOBAL_SEED_GENERATOR) is None:
        copied = random.Random()
        copied.setstate(random.getstate())
        made = SeedGenerator(copied.randint(1, int(1e9)))  # as `keras.src.random.seed_generator.make_default_seed`
        global_state.set_global_attribute(GLOBAL_SEED_GENERATOR, made)
    return global_seed_generator()


def _held(value: Any, nesting: int = 0) -> Iterator[Any]:
    """Yield the variables, seed generators and metrics in a value, at up to eight levels of lists, tuples and dicts."""
    if isinstance(value, (keras.Variable, tf.Variable, SeedGenerator, keras.Metric)):
        yield value
    elif isinstance(value, (list, tuple, dict)) and nesting < 8:
        for item in value.values() if isinstance(value, dict) else value:
            yield from _held(item, nesting + 1)


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
