"""The gradient of each example's own loss: the pass over a batch of one, mapped over the examples in one graph."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tfdump.errors import ModelError
from tfdump.model.gradients.conv_filters import filter_gradients_at_once
from tfdump.model.gradients.differentiation import Differentiation
from tfdump.model.gradients.probe import GradientProbeBase
from tfdump.model.gradients.vectorization import obstacle
from tfdump.model.gradients.wrt import GROUPS, WEIGHTS, Target
from tfdump.model.losses.scalar import HOW
from tfdump.model.tracing.traced import Tensors, Traced
from tfdump.tensors import Batch, InputSpec, Note, Value

PARALLEL = 10
"""How many examples `tf.map_fn` may process at once."""


class PerExampleProbe(GradientProbeBase):
    """A model that returns the gradients of each example's own loss; a context manager that restores its state.

    The map is vectorized where every operation of the graph is known to be safe, else it is a loop in the graph. A
    model that cannot be traced runs example by example.
    """

    def __init__(self, pass_over: Differentiation, specs: Sequence[InputSpec], fixed: int | None, note: Note) -> None:
        super().__init__(pass_over)
        if fixed not in (None, 1):
            raise ModelError(
                f"--per-example: the model has a fixed batch size of {fixed}, so it cannot run one example alone "
                "(leave --per-example out)"
            )
        ones = [replace(spec, shape=(1, *(spec.shape or ())[1:])) for spec in specs]
        self._single = self._trace(lambda: Traced(self._one, ones, note, pass_over.request.eager))
        self.vectorized = not self._single.eager and obstacle(self._single.graph) is None
        if not self._single.eager and not self.terms and not pass_over.has_added_losses:
            raise ModelError(f"--per-example: the model was saved with a regularization and no other loss; {HOW}")
        self._traced = self._single
        if not self._single.eager:
            batches = [replace(spec, shape=(None, *(spec.shape or ())[1:])) for spec in specs]
            self._traced = Traced(self._map, batches, note)
        self._prepare(self._traced.graph)

    @property
    def targets(self) -> tuple[Target, ...]:
        """The tensors whose gradients `run` returns; the axis of the one example is open in their shapes."""
        return tuple(map(_with_open_rows, super().targets))

    @property
    def unconnected(self) -> tuple[Target, ...]:
        """The tensors on which the loss does not depend."""
        return tuple(map(_with_open_rows, super().unconnected))

    @property
    def eager(self) -> bool:
        """Whether the model runs without a graph."""
        return self._single.eager

    @property
    def largest_batch(self) -> int | None:
        """The batch size above which the memory that the graph needs cannot be estimated, or None."""
        return self._single.largest_batch

    def live_bytes(self, batch: int) -> int:
        """Estimate how many bytes of tensors are alive at once for a batch of this size.

        The gradients of a batch count twice, because those of the batch before may still wait to be written.
        """
        returned = sum(int(np.prod(_known(target.info.shape))) * 4 for target in self.targets)
        at_once = batch if self.vectorized else min(batch, PARALLEL)
        return 2 * returned * batch + self._single.live_bytes(1) * at_once

    def run(self, batch: Batch) -> tuple[npt.NDArray[np.float64], list[Value | None]]:
        """Return the loss of each example, (n,), and the gradients in the order of `targets`, (n, ...)."""
        count = len(next(iter(batch.values())))
        if not self.eager and count > 1:  # a vectorized map over one example may lose its axis
            try:
                losses, *gradients = self._traced.run(batch)
            except ModelError:
                self._one_by_one(
                    batch, count
                )  # raises an error that names the gradient, if unequal shapes are the reason
                raise
            return np.asarray(losses), [np.asarray(gradient) for gradient in gradients]
        losses, *gradients = self._one_by_one(batch, count)
        return losses, gradients

    def _one_by_one(self, batch: Batch, count: int) -> list[Any]:
        """Run example by example; return the losses and the gradients. Raises ModelError where shapes differ."""
        rows = [self._single.run({name: array[n : n + 1] for name, array in batch.items()}) for n in range(count)]
        columns = list(zip(*rows, strict=True))
        for address, column in zip(["", *(target.info.address for target in self.targets)], columns, strict=True):
            shapes = [tuple(value.shape) for value in column]
            other = next((n for n, shape in enumerate(shapes) if shape != shapes[0]), None)
            if other is not None:
                raise ModelError(
                    f"--per-example: the gradient of '{address}' has the shape {shapes[0]} for one example and "
                    f"{shapes[other]} for another; it needs the same shape for all (leave it out: -x '{address}')"
                )
        return [np.stack([np.asarray(value) for value in column]) for column in columns]

    def _one(self, tensors: Tensors) -> list[Any]:
        """Return the loss and the gradients of a batch of one example, dense and without the axis of the example."""
        done = self._pass.run(tensors, None, None)
        gradients = [
            _row(gradient, source, by_example=target.group != GROUPS[WEIGHTS])
            for gradient, source, target in zip(done.gradients, done.forward, self.targets, strict=True)
        ]
        return [tf.cast(done.loss, tf.float64), *gradients]

    def _map(self, tensors: Tensors) -> Any:
        def one(element: Tensors) -> list[Any]:
            return self._one({name: tensor[tf.newaxis] for name, tensor in element.items()})

        if self.vectorized:
            with filter_gradients_at_once():
                return tf.vectorized_map(one, tensors, fallback_to_while_loop=False)
        signature = [tf.TensorSpec(tensor.shape, tensor.dtype) for tensor in self._single.function.structured_outputs]
        return tf.map_fn(one, tensors, fn_output_signature=signature, parallel_iterations=PARALLEL)


def _row(gradient: Any, source: Any, by_example: bool) -> Any:
    """Return a gradient as a dense tensor, without the first axis where that is the one example; None becomes zero."""
    dense = tf.zeros_like(source) if gradient is None else tf.convert_to_tensor(gradient)
    return dense[0] if by_example and dense.shape.rank and dense.shape[0] == 1 else dense


def _with_open_rows(target: Target) -> Target:
    if target.group == GROUPS[WEIGHTS] or (target.info.shape or ())[:1] != (1,):
        return target
    return replace(target, info=replace(target.info, shape=(-1, *(target.info.shape or ())[1:])))


def _known(shape: tuple[int, ...] | None) -> list[int]:
    return [max(1, size) for size in shape or ()]
