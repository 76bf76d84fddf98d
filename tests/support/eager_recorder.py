"""A second recorder, for checking the first: every layer object that is alive gets its own `call` wrapped, eagerly.

It shares nothing with tfdump's: no trace, no class method, no stack, no walk over the model. What it yields is the
sequence of calls as they end, to be compared in order.
"""

import functools
import gc
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import KerasTensor, Layer, Operation
from keras.layers import TimeDistributed
from keras.src.models.functional import Functional

from tfdump.address import encode
from tfdump.tensors import Ragged, Sparse

TOLERANCE = 1e-4
"""Relative to the largest value of a tensor: a graph rounds in another order than an eager run."""


_METHODS = ("call", "quantized_call")
"""What Keras calls of a layer; the second where it is quantized."""


@dataclass(frozen=True)
class Call:
    """One call that ended: the layer's name, encoded as in an address, and the tensors that it returned.

    `inner` calls ended inside it; it made them in `steps` equal rounds, one a time step, where it is TimeDistributed.
    """

    name: str
    tensors: tuple[Any, ...]
    inner: int = 0
    steps: int = 1


@dataclass(frozen=True)
class Comparison:
    """How many tensors were compared, the worst relative difference, and the calls that had to be left out."""

    tensors: int
    worst: float
    skipped: tuple[str, ...]


def record(model: Layer, *args: Any, **kwargs: Any) -> tuple[list[Call], Any]:
    """Call the model once, eagerly; return the calls inside it, as they ended, and what it returned."""
    calls: list[Call] = []
    before = tf.config.functions_run_eagerly()
    tf.config.run_functions_eagerly(True)
    try:
        with _watched(_operations(model), calls):
            outputs = model(*args, **kwargs)
    finally:
        tf.config.run_functions_eagerly(before)
    return calls, outputs


def _operations(model: Layer) -> list[Operation]:
    """Every layer of this process but the model, and every node of a functional graph that is no layer."""
    layers = [item for item in gc.get_objects() if Layer in type(item).__mro__]
    inside = {id(getattr(layer, "_functional", None)) for layer in layers}  # by which a Sequential runs itself
    layers = [layer for layer in layers if id(layer) not in inside]
    graphs = [layer for layer in layers if isinstance(layer, Functional)]
    nodes = [node for graph in graphs for node in graph.operations if not isinstance(node, Layer)]
    return list({id(item): item for item in [*layers, *nodes] if item is not model}.values())


@contextmanager
def _watched(operations: Sequence[Operation], calls: list[Call]) -> Iterator[None]:
    """Wrap `call` of these operations, and of layers that are made meanwhile."""
    original = Layer.__init__

    def wrap(operation: Operation) -> None:
        for method in _METHODS:
            if hasattr(operation, method):
                object.__setattr__(operation, method, _recording(operation, getattr(operation, method), calls))

    def initialize(layer: Layer, *args: Any, **kwargs: Any) -> None:
        original(layer, *args, **kwargs)
        wrap(layer)

    for operation in operations:
        wrap(operation)
    Layer.__init__ = initialize
    try:
        yield
    finally:
        Layer.__init__ = original
        for operation in operations:
            for method in _METHODS:
                vars(operation).pop(method, None)


def _recording(operation: Operation, original: Any, calls: list[Call]) -> Any:
    @functools.wraps(original)
    def call(*args: Any, **kwargs: Any) -> Any:
        before = len(calls)
        outputs = original(*args, **kwargs)
        leaves = [leaf.value if isinstance(leaf, keras.Variable) else leaf for leaf in keras.tree.flatten(outputs)]
        if not any(isinstance(leaf, KerasTensor) or (tf.is_tensor(leaf) and _symbolic(leaf)) for leaf in leaves):
            tensors = [leaf for leaf in leaves if leaf is not None and not isinstance(leaf, str)]
            steps = tensors[0].shape[1] if isinstance(operation, TimeDistributed) else 1
            calls.append(Call(encode(operation.name), tuple(tensors), len(calls) - before, steps))
        return outputs

    return call


def _symbolic(tensor: Any) -> bool:
    parts = tf.nest.flatten(tensor, expand_composites=True)
    return not all(isinstance(part, (tf.__internal__.EagerTensor, tf.Variable)) for part in parts)


def compare(got: Mapping[str, Any], calls: Sequence[Call], not_captured: Sequence[str]) -> Comparison:
    """Compare what tfdump gave, by address and in order, with the calls that this recorder saw.

    A call that tfdump lacks must be named in `not_captured`, by the same last name. What TimeDistributed calls may
    stand there step by step, or stacked along the time axis. Raises AssertionError for anything that is missing, too
    much, out of order or different.
    """
    try:
        return _compare(got, calls, not_captured)
    except AssertionError:
        if all(call.steps == 1 for call in calls):
            raise
        return _compare(got, stacked(calls), not_captured)


def stacked(calls: Sequence[Call]) -> list[Call]:
    """Return the calls with those of every time step of a TimeDistributed made one, of tensors with a time axis."""
    done: list[Call] = []
    begins: list[int] = []  # how many were done before each call
    for number, call in enumerate(calls):
        begins.append(len(done))
        rounds = done[begins[number - call.inner] if call.inner else len(done) :]
        if call.steps > 1 and rounds and len(rounds) % call.steps == 0:
            size = len(rounds) // call.steps
            begin = len(done) - len(rounds)
            begins[-1] = begin + size
            done[begin:] = [_over_time(rounds[position::size]) for position in range(size)]
        done.append(call)
    return done


def _over_time(calls: Sequence[Call]) -> Call:
    tensors = zip(*(call.tensors for call in calls), strict=True)
    return Call(calls[0].name, tuple(np.stack([np.asarray(step) for step in steps], axis=1) for steps in tensors))


def _compare(got: Mapping[str, Any], calls: Sequence[Call], not_captured: Sequence[str]) -> Comparison:
    named = {_last_name(address) for address in not_captured}
    waiting = list(got.items())
    count, worst, skipped = 0, 0.0, []
    for call in calls:
        outputs = waiting[: len(call.tensors)]
        if not call.tensors or [_last_name(address) for address, _ in outputs] != [call.name] * len(call.tensors):
            assert call.name in named, f"a call of '{call.name}' is missing without a name; next is {outputs[:1]}"
            skipped.append(call.name)
            continue
        del waiting[: len(call.tensors)]
        for (address, value), tensor in zip(outputs, call.tensors, strict=True):
            worst = max(worst, difference(value, tensor, address))
            count += 1
    assert not waiting, f"given, but not seen: {[address for address, _ in waiting]}"
    return Comparison(count, worst, tuple(skipped))


def difference(value: Any, tensor: Any, address: str) -> float:
    """Return the largest difference relative to the largest value; raises AssertionError above the tolerance."""
    got, expected = _dense(value), _dense(tensor)
    if got.shape == (1, *expected.shape):  # one batch of a tensor without a row an example
        got = got[0]
    assert got.shape == expected.shape, f"{address} is {got.shape}, not {expected.shape}"
    if expected.dtype.kind not in "fcV":
        assert np.array_equal(got, expected), f"{address} differs"
        return 0.0
    wide = "complex128" if expected.dtype.kind == "c" else "float64"
    got, expected = got.astype(wide), expected.astype(wide)
    assert np.array_equal(np.isfinite(got), np.isfinite(expected)), f"{address} is not finite in other places"
    finite = np.isfinite(expected)
    if not finite.any():
        return 0.0
    worst = float(np.abs(got - expected)[finite].max() / max(np.abs(expected[finite]).max(), 1e-30))
    assert worst <= TOLERANCE, f"{address} differs by {worst:.1e}"
    return worst


def identical(value: Any, other: Any) -> bool:
    """Tell whether two values that tfdump gave are the same to the last bit."""
    if isinstance(value, list):
        return len(value) == len(other) and all(map(identical, value, other))
    one, two = _dense(value), _dense(other)
    return one.shape == two.shape and np.array_equal(one, two, equal_nan=one.dtype.kind in "fc")


def _dense(value: Any) -> np.ndarray:
    """Return a value of either recorder as one array; text as str objects."""
    if isinstance(value, Ragged):
        return np.asarray(value.values)
    if isinstance(value, tf.RaggedTensor):
        return np.asarray(value.flat_values)
    if isinstance(value, (Sparse, tf.SparseTensor)):
        return np.asarray(value.values)
    array = np.asarray(value)
    if array.dtype == object:
        words = [item.decode() if isinstance(item, bytes) else item for item in array.flat]
        return np.array(words).reshape(array.shape)
    return array


def _last_name(address: str) -> str:
    """Return the name of the layer that an address ends with, without its call, namesake and output."""
    layer = address.partition(":")[0]
    return layer.rpartition(".")[2].partition("@")[0].partition("~")[0]
