"""The states and gates of recurrent layers at every time step.

The loop of Keras, `backend.rnn`, gets a step function that returns the new states and the gates beside its output, and
stacks them. The layer itself gets the same result as without them.

The time axis is that of the input, also for layers that run backwards: `states[:, t]` is the state after the input at t
was processed. At a masked step, the states are carried over, and the gates are 0 because nothing uses them.
"""

import inspect
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import keras
import tensorflow as tf
from keras import Layer
from keras.layers import RNN, GRUCell, LSTMCell, StackedRNNCells

from tfdump.model.any_backend_internals import loops
from tfdump.model.keras_internals import ConvLSTMCell
from tfdump.model.recording.frames import Frame, Hook, ObservedRun
from tfdump.model.recording.patching import replaced

STATES, GATES = "states", "gates"
_NO_LOOP = "the layer did not run Keras's loop over the time steps (it has its own, or ran by cuDNN)"
_NO_GATES = "the cell computed other activations than an LSTM or GRU does"
_LSTM_GATES = (("input", "forget", "output"), ("cell", ""))
_GRU_GATES = (("update", "reset"), ("candidate",))
"""The outputs of the calls of a cell's recurrent activation, and of its activation; "" is not a gate."""

Step = Callable[[Any, Any], tuple[Any, Any]]


class RecurrentSteps(Hook):
    """Records `<address>:states.i` (with `states`) and `<address>:gates.NAME` (with `gates`) of recurrent layers."""

    def __init__(self, recording: ObservedRun, states: bool, gates: bool) -> None:
        super().__init__(recording)
        self._states = states
        self._gates = gates
        self._looped = 0

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Wrap the loop of Keras."""
        original = loops.rnn
        parameters = inspect.signature(original)

        def watched_loop(*args: Any, **kwargs: Any) -> Any:
            frame = self.recording.current
            bound = parameters.bind(*args, **kwargs)
            bound.apply_defaults()
            if frame is None or frame.hidden or not isinstance(frame.operation, RNN) or bound.arguments["time_major"]:
                return original(*args, **kwargs)
            self._looped += 1
            cells = _cells_of(frame.operation.cell) if self._gates else []
            loop = _Loop(original, bound.arguments, cells)
            result = loop.run()
            if self._states:
                for number, states in enumerate(loop.states):
                    self.recording.add(frame, STATES, states, (number,))
            for path, gate in loop.gates:
                self.recording.add(frame, GATES, gate, path)
            if loop.unknown_gates:
                self.recording.miss(f"{frame.path}:{GATES}", _NO_GATES)
            return result

        with replaced(loops, "rnn", watched_loop):
            yield

    @contextmanager
    def around(self, frame: Frame, args: Any, kwargs: Mapping[str, Any]) -> Iterator[None]:
        """Report a recurrent layer that did not run the loop."""
        looped = self._looped
        yield
        if isinstance(frame.operation, RNN) and self._looped == looped:
            self.recording.miss(f"{frame.path}:{STATES if self._states else GATES}", _NO_LOOP)


class _Cell:
    """A cell with gates, and the outputs of its activations in one step."""

    def __init__(self, cell: Any, path: tuple[int, ...]) -> None:
        self._names = _GRU_GATES if isinstance(cell, GRUCell) else _LSTM_GATES
        self._cell = cell
        self.path = path
        self._values: tuple[list[Any], list[Any]] = ([], [])

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Collect the outputs of the activations while the body runs."""
        self._values = ([], [])
        with ExitStack() as stack:
            for name, values in zip(("recurrent_activation", "activation"), self._values, strict=True):
                stack.enter_context(replaced(self._cell, name, _taking(getattr(self._cell, name), values)))
            yield

    @property
    def complete(self) -> bool:
        """Whether the activations were called as often as there are gates."""
        return all(len(values) == len(names) for values, names in zip(self._values, self._names, strict=True))

    def gates(self) -> list[tuple[str, Any]]:
        """Return the gates of the last step with their names; empty where they are unknown."""
        if not self.complete:
            return []
        pairs = zip(itertools.chain(*self._names), itertools.chain(*self._values), strict=True)
        return [(name, value) for name, value in pairs if name]


class _Loop:
    """One run of the loop over the time steps; it records `states`, and `gates` with their paths."""

    def __init__(self, original: Callable[..., Any], arguments: Mapping[str, Any], cells: Sequence[_Cell]) -> None:
        self._original = original
        self._arguments = dict(arguments)
        self._cells = cells
        self._initial = keras.tree.flatten(arguments["initial_states"])
        self._names: list[tuple[str | int, ...]] = []
        self.unknown_gates = False
        self.states: list[Any] = []
        self.gates: list[tuple[tuple[str | int, ...], Any]] = []

    def run(self) -> Any:
        """Run the loop and return its result."""
        processed = self._processed()
        if self._arguments["unroll"]:
            result, stacked = self._unrolled(processed)
        else:
            result, stacked = self._looped(processed)
        if self._arguments["go_backwards"]:
            stacked = [tf.reverse(values, [min(1, values.shape.rank - 1)]) for values in stacked]
        count = len(self._initial)
        self.states = stacked[:count]
        self.gates = list(zip(self._names, stacked[count:], strict=True))
        return result

    def _step(self, *arguments: Any) -> tuple[Any, Any, list[Any]]:
        """Call the layer's step function; return its output, its new states, and the tensors to record."""
        with ExitStack() as stack:
            for cell in self._cells:
                stack.enter_context(cell.watched())
            output, states = self._arguments["step_function"](*arguments)
        self.unknown_gates = not all(cell.complete for cell in self._cells)
        gates = [(cell.path, name, value) for cell in self._cells for name, value in cell.gates()]
        self._names = [(*path, name) for path, name, _ in gates]
        return output, states, [*keras.tree.flatten(states), *(value for _, _, value in gates)]

    def _looped(self, processed: Any) -> tuple[Any, list[Any]]:
        """Run Keras's own loop, which stacks the further outputs of a step.

        The loop carries outputs over masked steps instead of setting them to zero, so that it carries the states too.
        """

        scalars: list[bool] = []

        def step(*arguments: Any) -> tuple[Any, Any]:
            output, states, extras = self._step(*arguments)
            scalars[:] = [not extra.shape.rank for extra in extras]
            extras = [extra[None] if scalar else extra for extra, scalar in zip(extras, scalars, strict=True)]
            return [output, extras], states

        asked = {"step_function": step, "zero_output_for_mask": False, "return_all_outputs": True}
        (last, _), (outputs, stacked), states = self._original(**{**self._arguments, **asked})
        stacked = [values[0] if scalar else values for values, scalar in zip(stacked, scalars, strict=True)]
        if processed is not None:
            started = tf.cumsum(tf.cast(processed, tf.int32), axis=1) > 0
            count = len(self._initial)
            stacked = [
                *(
                    tf.where(_like(started, values), values, tf.cast(initial, values.dtype)[:, None])
                    for values, initial in zip(stacked[:count], self._initial, strict=True)
                ),
                *(_zero_unless(processed, values) for values in stacked[count:]),
            ]
            if self._arguments["zero_output_for_mask"]:
                outputs = keras.tree.map_structure(lambda values: _zero_unless(processed, values), outputs)
                last = keras.tree.map_structure(lambda values: _zero_unless(processed[:, -1], values), last)
        if not self._arguments["return_all_outputs"]:
            outputs = keras.tree.map_structure(lambda values: values[:, -1:], outputs)
        return (last, outputs, states), stacked

    def _unrolled(self, processed: Any) -> tuple[Any, list[Any]]:
        """Run the steps one by one, as Keras does, and stack the tensors to record."""
        steps: list[list[Any]] = []

        def step(*arguments: Any) -> tuple[Any, Any]:
            output, states, extras = self._step(*arguments)
            steps.append(extras)
            return output, states

        result = self._original(**{**self._arguments, "step_function": step})
        if processed is not None:
            before = self._initial
            for number, extras in enumerate(steps):
                now, count = processed[:, number], len(before)
                before = [
                    tf.where(_like(now, new), new, tf.cast(old, new.dtype))
                    for new, old in zip(extras[:count], before, strict=True)
                ]
                steps[number] = [*before, *(_zero_unless(now, gate) for gate in extras[count:])]
        return result, [tf.stack(values, axis=min(1, values[0].shape.rank)) for values in zip(*steps, strict=True)]

    def _processed(self) -> Any:
        """Return which steps are not masked, (examples, time) in the order of running; None if no step is masked."""
        mask = self._arguments["mask"]
        if mask is None:
            return None
        mask = tf.cast(mask, tf.bool)
        mask = mask[..., 0] if mask.shape.rank == 3 else mask
        return tf.reverse(mask, [1]) if self._arguments["go_backwards"] else mask


def has_gates(cell: Any) -> bool:
    """Tell whether a cell, or one inside it, has the gates of an LSTM or GRU."""
    return bool(_cells_of(cell))


def _cells_of(cell: Any) -> list[_Cell]:
    """Return the cells with gates in the cell of a layer."""
    numbered: list[tuple[Any, tuple[int, ...]]] = [(cell, ())]
    if isinstance(cell, StackedRNNCells):
        numbered = [(inner, (number,)) for number, inner in enumerate(cell.cells)]
    cells = []
    for outer, path in numbered:
        inside = outer._flatten_layers() if isinstance(outer, Layer) else []
        gated = [layer for layer in inside if isinstance(layer, (LSTMCell, GRUCell, ConvLSTMCell))]
        several = [(number,) for number in range(len(gated))] if len(gated) > 1 else [()]
        cells += [_Cell(layer, (*path, *own)) for layer, own in zip(gated, several, strict=False)]
    return cells


def _taking(activation: Callable[..., Any], values: list[Any]) -> Callable[..., Any]:
    def called(*args: Any, **kwargs: Any) -> Any:
        value = activation(*args, **kwargs)
        values.append(value)
        return value

    return called


def _like(flags: Any, values: Any) -> Any:
    """Return flags with axes of length 1 appended, up to the rank of `values`."""
    for _ in range(values.shape.rank - flags.shape.rank):
        flags = flags[..., None]
    return flags


def _zero_unless(flags: Any, values: Any) -> Any:
    return tf.where(_like(flags, values), values, tf.zeros([], values.dtype))
