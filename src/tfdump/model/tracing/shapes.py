"""The shapes of the tensors of a graph that follow from those of its inputs, at two batch sizes.

While a model is traced with an open batch, shapes that are computed in the graph (`tf.shape`, the axes that a gradient
of a broadcast sums over) are open altogether. With a batch of known size TensorFlow computes them while it builds.
"""

from typing import Any

import tensorflow as tf

from tfdump.model.recording.tensors import HANDLES

BATCHES = (2, 4)
"""The sizes of batch: even, because models may split a batch, and unlike 1, which broadcasts."""

Shapes = tuple[tf.TensorShape, tf.TensorShape]
"""The shapes of one tensor at these sizes."""

_WITH_BODIES = frozenset({"While", "StatelessWhile", "If", "StatelessIf", "Case", "StatelessCase", "Placeholder"})


def resolved_shapes(graph: Any) -> dict[str, Shapes]:
    """Return the shapes of tensors by name, at both sizes of a batch; those of which nothing is known are left out.

    An axis may be open still. Empty where the graph cannot be built with batches of these sizes.
    """
    try:
        small, large = (_shapes_at(graph, batch) for batch in BATCHES)
    except (ValueError, tf.errors.OpError):  # it takes other batches only, or is larger than 2 GiB
        return {}
    return {
        name: (shape, large[name])
        for name, shape in small.items()
        if shape.rank is not None and shape.rank == large[name].rank
    }


def _shapes_at(graph: Any, batch: int) -> dict[str, tf.TensorShape]:
    """Build the graph anew, with inputs of a batch of this size in the place of what has a shape by itself."""
    copy = tf.Graph()
    with copy.as_default():
        places = {}
        for number, tensor in enumerate(_sources(graph)):
            shape = [batch if size is None else size for size in tensor.shape]
            places[tensor.name] = tf.compat.v1.placeholder(tensor.dtype, shape, f"tfdump_source_{number}")
        tf.graph_util.import_graph_def(graph.as_graph_def(), input_map=places, name="")
    shapes = {tensor.name: tensor.shape for operation in copy.get_operations() for tensor in operation.outputs}
    return shapes | {name: place.shape for name, place in places.items()}


def _sources(graph: Any) -> list[Any]:
    """Return the tensors that start what is computed: inputs, weights, and the results of loops and branches.

    At most one of their axes is open, which is the batch.
    """
    tensors = [
        tensor
        for operation in graph.get_operations()
        if operation.type in _WITH_BODIES or any(source.dtype in HANDLES for source in operation.inputs)
        for tensor in operation.outputs
    ]
    known = [tensor for tensor in tensors if tensor.dtype not in HANDLES and tensor.shape.rank is not None]
    return [tensor for tensor in known if sum(size is None for size in tensor.shape) <= 1]
