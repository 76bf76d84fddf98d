"""`--isolate`: the error of each layer by itself, where the layers before it get the values of the other side."""

from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tfdump.comparison.pairing import Pair
from tfdump.dump import layout
from tfdump.errors import TfdumpError
from tfdump.inputs.source import pad_batch
from tfdump.side_by_side.error_sums import ErrorSum
from tfdump.side_by_side.influence import Influence
from tfdump.side_by_side.model_side import ModelSide
from tfdump.side_by_side.options import errors_name_side
from tfdump.side_by_side.patched_pairs import CallRows, PatchedPair, layers_through, obstacle_to, patched_pair
from tfdump.side_by_side.places_in_batches import BatchPlace
from tfdump.tensors import Array, Batch, listed

if TYPE_CHECKING:
    from tfdump.model.patches import PatchedRuns, State

NEEDS_KERAS = (
    "--isolate and --influence need a Keras model on one side (compare with the .keras file, or leave them out)"
)


@dataclass(frozen=True)
class IsolatedErrors:
    """The relative L2 errors of one tensor: all of it, and what its layer adds to that of its inputs.

    `influence` is the part of the error of the final outputs that goes away if the layer alone is right. `through` are
    the tensors of the Keras model before it that the other side does not have, so that their errors are in `own`.
    """

    total: float
    own: float
    influence: float | None
    through: tuple[str, ...]


@dataclass
class _Errors:
    """The sums of one pair: the error that it has, and the error that its layer adds; `slot` is that of its patch."""

    pair: PatchedPair
    slot: int = 0
    total: ErrorSum = field(default_factory=ErrorSum)
    own: ErrorSum = field(default_factory=ErrorSum)


@dataclass(frozen=True)
class _Call:
    """One call of the Keras model: its inputs, the state of the model before, and its rows in the batch."""

    inputs: Batch
    state: "State"
    rows: CallRows


@dataclass(frozen=True)
class _Values:
    """The values of both sides in one batch, by the places of the pairs."""

    keras: Mapping[int, Array]
    other: Mapping[int, Array]


class Isolation:
    """Runs the Keras model of a comparison once more, with each paired tensor replaced by that of the other side.

    What a layer computes before it is replaced is what it makes of the inputs of the other side. With
    `with_influence`, the model also runs once for each layer, in which the error of that layer alone is left out.
    """

    def __init__(self, keras: ModelSide, keras_is_golden: bool, with_influence: bool) -> None:
        self._keras = keras
        self._keras_is_golden = keras_is_golden
        self._with_influence = with_influence
        self._errors: dict[int, _Errors] = {}
        self._slots: dict[tuple[bool, str], int] = {}  # the place of the pair that gives each patch its values
        self._obstacles: dict[str, list[str]] = {}
        self._runs: PatchedRuns | None = None
        self._influence: Influence | None = None
        self._pool = ThreadPoolExecutor(1, "tfdump-isolate")
        self._waiting: Future[None] | None = None
        keras.isolate()

    def begin(self, pairs: Sequence[Pair]) -> None:
        """Take the pairs, by whose places the results are known.

        Raises TfdumpError where no tensor of the Keras model can be replaced.
        """
        for place, pair in enumerate(pairs):
            if pair.golden is None or pair.new is None:
                continue
            patched = patched_pair(pair, self._keras_is_golden)
            if isinstance(patched, PatchedPair):
                self._errors[place] = _Errors(patched)
            else:
                self._obstacles.setdefault(patched, []).append(pair.golden.address)
        if not any(errors.pair.keras.group == layout.ACTIVATIONS for errors in self._errors.values()):
            why = next(iter(self._obstacles), "the sides have no tensor of a layer in common")
            raise TfdumpError(f"no error can be isolated, because {why} (leave --isolate and --influence out)")
        self._prepare()

    def _prepare(self) -> None:
        """Prepare the model for the pairs that are left; several pairs may have the same tensor of the model."""
        planned = self._keras.run.plan.tensors
        declared = {(tensor.group == layout.OUTPUTS, tensor.info.address): tensor.info.shape for tensor in planned}
        self._slots = {}
        for place, errors in self._errors.items():
            self._slots.setdefault(errors.pair.key, place)
        patches = [self._errors[place].pair.patch(declared[key]) for key, place in self._slots.items()]
        for errors in self._errors.values():
            errors.slot = list(self._slots).index(errors.pair.key)
        self._runs = self._keras.run.probe.patched(patches)
        if self._runs is None:
            raise TfdumpError(NEEDS_KERAS)
        if self._with_influence:
            self._influence = Influence(self._runs, [patch.is_output for patch in patches])

    def start(self, place: BatchPlace) -> None:
        """Begin with the batch whose values are in the tensors now; `finish` waits for the end."""
        self._leave_out_changed()
        both = {number: errors.pair.values() for number, errors in self._errors.items()}
        values = _Values({n: keras for n, (keras, _) in both.items()}, {n: other for n, (_, other) in both.items()})
        calls = self._calls(place)
        if self._keras.runs_apart:
            self._waiting = self._pool.submit(copy_context().run, self._add, values, calls)
        else:
            self._add(values, calls)

    def finish(self) -> None:
        """Wait for the batch that was begun."""
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.result()

    def close(self) -> None:
        """End the thread."""
        self._pool.shutdown()

    def _leave_out_changed(self) -> None:
        """Leave out the tensors that can no longer be replaced."""
        obstacles = {place: obstacle_to(errors.pair) for place, errors in self._errors.items()}
        gone = {place: why for place, why in obstacles.items() if why}
        for place, why in gone.items():
            self._obstacles.setdefault(why, []).append(self._errors.pop(place).pair.keras.address)
        if gone:
            self._prepare()

    def _calls(self, place: BatchPlace) -> list[_Call]:
        keras, calls = self._keras, []
        for number, (inputs, examples) in enumerate(keras.inputs.pop(place.start)):
            first = number * keras.call_size
            state = keras.states[number] if keras.in_turn else None
            calls.append(_Call(inputs, state, (number, first, first + examples)))
        return calls

    def _add(self, values: _Values, calls: Sequence[_Call]) -> None:
        for place, errors in self._errors.items():
            errors.total.add(*self._in_order(values.keras[place], values.other[place]))
        with errors_name_side(self._keras.name, self._keras.role):
            for call in calls:
                self._add_call(values, call)

    def _add_call(self, values: _Values, call: _Call) -> None:
        assert self._runs is not None
        fixed = self._keras.run.plan.fixed
        inputs = pad_batch(call.inputs, fixed) if fixed else call.inputs
        pairs = {place: self._errors[place].pair for place in self._slots.values()}
        others = [pair.padded(pair.rows(values.other[place], call.rows), fixed) for place, pair in pairs.items()]
        computed = self._runs.replaced(inputs, others, call.state)
        for place, errors in self._errors.items():
            own = errors.pair.unpadded(computed[errors.slot], call.rows)
            errors.own.add(*self._in_order(own, errors.pair.rows(values.other[place], call.rows)))
        if self._influence is not None:
            outputs = [(pair, pair.rows(values.keras[p], call.rows)) for p, pair in pairs.items() if pair.key[0]]
            self._influence.add(inputs, call.state, others, computed, outputs, call.rows)

    def _in_order(self, keras: Array, other: Array) -> tuple[Array, Array]:
        """Return the golden value, and the new one."""
        return (keras, other) if self._keras_is_golden else (other, keras)

    def errors(self, place: int) -> IsolatedErrors | None:
        """Return the errors of a pair; None where its tensor was not replaced."""
        if place not in self._errors:
            return None
        errors, replaced = self._errors[place], {address for is_output, address in self._slots if not is_output}
        through = layers_through(errors.pair.keras, list(self._keras.items.values()), replaced)
        influence = None if self._influence is None else self._influence.of(errors.slot)
        return IsolatedErrors(errors.total.relative, errors.own.relative, influence, through)

    def notes(self) -> list[str]:
        """Return notes on the tensors that have no error of their own."""
        notes = [f"no own error, because {why}: {listed(names)}" for why, names in self._obstacles.items()]
        if self._influence is not None:
            notes += self._influence.notes()
        return notes
