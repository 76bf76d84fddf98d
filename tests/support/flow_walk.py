"""A walk over the graph that a dump holds: its ends are inputs or constants, and its edges are what the layers read.

Each layer of a functional model is called once more, eagerly, with the dumped values of its `inputs`. Keras's own nodes
tell how its arguments are arranged; which tensors they were is told by the dump alone.
"""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import KerasTensor, Layer, Operation
from keras.src.backend.common.masking import get_keras_mask, set_keras_mask
from keras.src.models.functional import Functional
from keras.src.ops.node import Node

import tfdump
from support import eager_recorder
from tfdump.address import encode
from tfdump.tensors import Ragged, Sparse

MOST_ARRANGEMENTS = 100


@dataclass(frozen=True)
class Walk:
    """How many tensors follow from the inputs, which are constants, and how many layers were called once more."""

    reached: int
    constants: tuple[str, ...]
    called: int


@dataclass(frozen=True)
class Graph:
    """What a dump with `--save-inputs` holds: what each tensor reads, the values, and which are stacks of batches."""

    reads: Mapping[str, tuple[str, ...] | None]
    values: Mapping[str, Any]
    dtypes: Mapping[str, str]

    @classmethod
    def of(cls, path: Path) -> "Graph":
        """The graph in a dump of one batch."""
        with tfdump.open(path) as dump:
            tensors = {a: dump[f"activations/{a}"] for a in dump.groups["activations"]}
            inputs = {f"inputs/{name}": dump[f"inputs/{name}"] for name in dump.groups["inputs"]}
            every = {**inputs, **tensors}
            values = {
                name: value[0] if tensor.attributes["axis0"] == "batch" else value
                for name, tensor in every.items()
                if not isinstance(value := tensor.read(), list)
            }
            return cls({a: t.inputs for a, t in tensors.items()}, values, {a: t.dtype for a, t in every.items()})


def constants(graph: Graph) -> tuple[str, ...]:
    """The tensors that follow from no input; raises AssertionError where it is unknown what one reads."""
    reached = {name for name in graph.values if name.startswith("inputs/")}
    known: dict[str, None] = {}
    for address, reads in graph.reads.items():
        assert reads is not None, f"it is unknown what {address} reads"
        strange = [name for name in reads if name not in known and not name.startswith("inputs/")]
        assert not strange, f"{address} reads {strange}, which no tensor before it is called"
        known[address] = None
        if reached.intersection(reads):
            reached.add(address)
    return tuple(address for address in known if address not in reached)


def walked(graph: Graph, other: Graph, model: Any) -> Walk:
    """Walk over the graph of a dump; `other` is that of the same model and other inputs.

    Raises AssertionError where a constant differs between the two, or where a layer gives another output from the
    values of its inputs than the dumped one.
    """
    ends = constants(graph)
    for address in ends:
        if address in graph.values:
            assert eager_recorder.identical(graph.values[address], other.values[address]), f"{address} is no constant"
    return Walk(len(graph.reads) - len(ends), ends, called_again(graph, model))


def called_again(graph: Graph, model: Any) -> int:
    """Call every layer of a functional model, and of those inside of it, with the dumped values of what it reads."""
    count = 0
    tensors = {name: _tensor(value, graph.dtypes[name]) for name, value in graph.values.items()}
    for address, operation, node in list(_nodes(model, "")):
        names = [name for name in graph.reads if name == address or name.startswith(f"{address}:")]
        if len(names) != len(node.outputs) or any(name not in tensors for name in names):
            continue
        outputs = {name: place for place, name in enumerate(names)}
        reads = graph.reads[next(iter(outputs))] or ()
        assert all(graph.reads[name] == reads for name in outputs), f"the outputs of {address} read different tensors"
        symbols = list({id(symbol): symbol for symbol in node.input_tensors}.values())
        got = _matching(operation, node, symbols, [tensors[name] for name in reads], outputs, tensors)
        for name, place in outputs.items():
            mask = get_keras_mask(got[place])
            if mask is not None:
                set_keras_mask(tensors[name], mask)
        count += 1
    return count


def _matching(
    operation: Operation, node: Node, symbols: list[Any], values: list[Any], outputs: Mapping[str, int], tensors: Any
) -> list[Any]:
    """Return the outputs of a call on the values; raises AssertionError where these do not give the dumped ones.

    The values are the arguments in order. Where two arguments are one tensor, one is a mask that Keras hands on beside
    them, or Keras sorts them by keyword, any arrangement may be right.
    """
    fitting = [[number for number, value in enumerate(values) if _fits(value, symbol)] for symbol in symbols]
    named = any(isinstance(leaf, KerasTensor) for leaf in keras.tree.flatten(node.arguments.kwargs))
    in_order = [tuple(range(len(values)))] if len(symbols) == len(values) else []
    most = min(len(symbols), len(values))
    others = (numbers for numbers in itertools.product(*fitting) if len(set(numbers)) == most)
    others = itertools.islice(others, MOST_ARRANGEMENTS if named or not in_order else 0)
    failures = []
    for numbers in itertools.chain(in_order, others):
        arrangement = [values[number] for number in numbers]
        args, kwargs = node.arguments.fill_in({id(s): v for s, v in zip(symbols, arrangement, strict=True)})
        try:
            got = keras.tree.flatten(operation(*args, **kwargs))
            for name, place in outputs.items():
                eager_recorder.difference(np.asarray(tensors[name]), got[place], name)
        except (AssertionError, ValueError, tf.errors.InvalidArgumentError) as failure:
            failures.append(failure)
        else:
            return got
    raise AssertionError(f"{next(iter(outputs))}: {failures[0] if failures else 'it reads nothing'}")


def _fits(value: Any, symbol: Any) -> bool:
    shape = tuple(value.shape)
    sizes = zip(shape, symbol.shape, strict=False)
    return len(shape) == len(symbol.shape) and all(size in (wanted, None) or wanted is None for size, wanted in sizes)


def _nodes(model: Any, prefix: str) -> Iterator[tuple[str, Operation, Node]]:
    """Yield the address, the operation and the node of every call in a functional model, and in those inside of it."""
    functional = model._functional if isinstance(model, keras.Sequential) else model
    if not isinstance(functional, Functional):
        return
    for operation in functional.operations:
        if isinstance(operation, keras.layers.InputLayer):
            continue
        own = [node for nodes in functional._nodes_by_depth.values() for node in nodes]
        nodes = [node for node in operation._inbound_nodes if node in own]
        for number, node in enumerate(nodes):
            address = prefix + encode(operation.name) + (f"@{number}" if number else "")
            yield address, operation, node
            if isinstance(operation, Layer):
                yield from _nodes(operation, f"{address}.")


def _tensor(value: Any, dtype: str) -> Any:
    if isinstance(value, Ragged):
        ragged = tf.constant(value.values)
        for splits in reversed(value.row_splits):
            ragged = tf.RaggedTensor.from_row_splits(ragged, splits)
        return ragged
    if isinstance(value, Sparse):
        return tf.SparseTensor(value.indices, value.values, value.dense_shape)
    return tf.constant(value.tolist() if value.dtype == object else value, tf.string if dtype == "string" else dtype)
