"""The shapes of the tensors of a graph for two batch sizes, as far as they follow from the shapes of the inputs.

If a model is traced with an open batch axis, shapes that the graph computes (`tf.shape`, the axes over which the
gradient of a broadcast sums) are entirely open. With a known batch size, TensorFlow computes them while it builds.
"""

from typing import Any

import tensorflow as tf

from tfdump.model.recording.tensors import HANDLES

BATCHES = (2, 4)
"""The batch sizes: even, because models may split a batch, and larger than 1, which broadcasts."""

Shapes = tuple[tf.TensorShape, tf.TensorShape]
"""The shapes of one tensor for these sizes."""

_WITH_BODIES = frozenset({"While", "StatelessWhile", "If", "StatelessIf", "Case", "StatelessCase", "Placeholder"})


def resolved_shapes(graph: Any) -> dict[str, Shapes]:
    """Return the shapes of tensors by name, for both batch sizes, without tensors of unknown rank.

    Axes may still be open. The result is empty where the graph cannot be built with batches of these sizes.
    """
    try:
        small, large = (_shapes_at(graph, batch) for batch in BATCHES)
    except (ValueError, tf.errors.OpError):  # it accepts only other batch sizes, or is larger than 2 GiB
        return {}
    return {
        name: (shape, large[name])
        for name, shape in small.items()
        if shape.rank is not None and shape.rank == large[name].rank
    }


def _shapes_at(graph: Any, batch: int) -> dict[str, tf.TensorShape]:
    """Build the graph again for a batch of this size, with placeholders for the tensors that define shapes."""
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
    """Return the tensors from which the others are computed: inputs, weights, and results of loops and branches.

    At most one of their axes is open: that of the batch.
    """
    tensors = [
        tensor
        for operation in graph.get_operations()
        if operation.type in _WITH_BODIES or any(source.dtype in HANDLES for source in operation.inputs)
        for tensor in operation.outputs
    ]
    known = [tensor for tensor in tensors if tensor.dtype not in HANDLES and tensor.shape.rank is not None]
    return [tensor for tensor in known if sum(size is None for size in tensor.shape) <= 1]
