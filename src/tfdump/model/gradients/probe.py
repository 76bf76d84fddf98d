"""Probes of gradients: one GradientTape pass per batch, in one graph (docs/gradients.md)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tfdump.model.gradients.differentiation import Differentiation, counts_of
from tfdump.model.gradients.wrt import GROUPS, WEIGHTS, Target
from tfdump.model.losses.terms import Term
from tfdump.model.state import ModelState
from tfdump.model.tracing.other_sizes import OtherSizes
from tfdump.model.tracing.traced import Tensors, Traced, value_of
from tfdump.tensors import Array, Batch, InputSpec, NotCaptured, Note, Sparse, Value

DIVISORS, ROWS = "divisors of the loss", "rows that count"
"""The names under which a batch carries these two; no input can have such a name."""

_DIVISORS_SPEC = InputSpec(DIVISORS, (None,), "float64")


@dataclass(frozen=True)
class GradientBatch:
    """The results of one batch.

    `sums` (terms,) and `counts` (terms, COUNTS) of the loss, and `added`, the losses that layers add, are float64.
    `elements` are the values of the loss for each term, and `ranges` the least and the largest value of an output that
    a term takes for probabilities, else empty. `values` are the gradients in the order of `targets`, and `forward` the
    tensors themselves where they may be constants.
    """

    sums: npt.NDArray[np.float64]
    counts: npt.NDArray[np.float64]
    added: float
    elements: list[Array]
    ranges: list[Array]
    values: list[Value | None]
    forward: list[Array | None]


class GradientProbeBase:
    """The base of the probes of gradients: the pass over a batch, and the state of the model around it.

    `targets` describes what `run` returns, and `terms` the parts of the loss. Both are known from the start where the
    model can be traced, else after the first run. A context manager that restores the model's state.
    """

    def __init__(self, pass_over: Differentiation) -> None:
        self._pass = pass_over
        self._state = ModelState(pass_over.model, pass_over.request.seed)

    def _trace(self, make: Callable[[], Traced]) -> Traced:
        """Trace the pass. Trace it again where it created weights, which no tape watched when they were read."""
        before = len(self._pass.model.trainable_weights)
        made = make()
        if made.eager or len(self._pass.model.trainable_weights) == before:
            return made
        self._pass.forget()
        return make()

    def _prepare(self, graph: Any) -> None:
        """Save the state that running the graph changes, and reset the model to the start of a run."""
        self._state.save(graph)
        self._state.start()

    @property
    def targets(self) -> tuple[Target, ...]:
        """The tensors whose gradients `run` returns."""
        return self._pass.targets

    @property
    def unconnected(self) -> tuple[Target, ...]:
        """The tensors on which the loss does not depend."""
        return self._pass.unconnected

    @property
    def behind_logits(self) -> tuple[Target, ...]:
        """The unconnected tensors in whose place the loss used the logits behind them."""
        return tuple(target for target in self.unconnected if target.key in self._pass.behind_logits)

    @property
    def not_captured(self) -> tuple[NotCaptured, ...]:
        """The tensors that cannot be differentiated, with the reasons."""
        return self._pass.not_captured

    @property
    def late(self) -> set[str]:
        """Addresses that only later batches connect with the loss, which happens in eager runs."""
        return self._pass.late

    @property
    def terms(self) -> tuple[Term, ...]:
        """The terms of the loss."""
        return self._pass.terms

    @property
    def assigned(self) -> list[str]:
        """The names of the variables that the model changes while it runs, as far as its graph shows."""
        return self._state.assigned

    @property
    def random(self) -> bool:
        """Whether the model drew random numbers in the runs so far."""
        return self._state.draws

    @property
    def eager(self) -> bool:
        """Whether the model runs without a graph."""
        raise NotImplementedError

    def forget(self) -> None:
        """Let the next run of an eager model determine again which gradients there are."""
        if self.eager:
            self._pass.forget()

    def indexed_columns(self) -> list[tuple[str, Callable[[Array, int], None]]]:
        """Return the columns whose targets are class indices, each with a check of rows from a first row number on."""
        return self._pass.indexed_columns()

    def start(self) -> None:
        """Reset the random state, moving averages and stateful layers to the start of a run."""
        self._state.start()

    def renew(self) -> None:
        """Let `close` restore the state that the model has now, after more training."""
        self._state.renew()

    def close(self) -> None:
        """Restore the state of the model."""
        self._state.restore()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class GradientProbe(GradientProbeBase):
    """A model that returns gradients batch by batch; `fixed` is the batch size that it declares, or None."""

    def __init__(self, pass_over: Differentiation, specs: Sequence[InputSpec], fixed: int | None, note: Note) -> None:
        super().__init__(pass_over)
        self._last_examples = 1
        self._counting: dict[int | None, Traced] = {}
        self._specs = [*specs, *([InputSpec(ROWS, (), "int32")] if fixed is not None else [])]
        self._other_sizes = OtherSizes(self._trace_at)
        try:
            self._traced = self._trace(
                lambda: Traced(self._body, [*self._specs, _DIVISORS_SPEC], note, pass_over.request.eager)
            )
        except BaseException:  # the layers hold the losses of a graph that will never run
            self.close()
            raise
        self._prepare(self._traced.graph)

    def _specs_at(self, size: int | None) -> list[InputSpec]:
        """Return the specs of a batch of this size; None stands for the size that the model declares."""
        if size is None:
            return self._specs
        return [replace(spec, shape=(size, *spec.shape[1:])) if spec.shape else spec for spec in self._specs]

    def takes(self, examples: int) -> bool:
        """Prepare for batches of another size than the model declares; return False where the model rejects them.

        An eager model returns True: only a run shows what it accepts.
        """
        return self.eager or self._other_sizes.takes(examples)

    def _trace_at(self, examples: int) -> Traced:
        return Traced(self._body, [*self._specs_at(examples), _DIVISORS_SPEC], lambda reason: None)

    @property
    def coupled(self) -> str | None:
        """Why the loss cannot be split over batches, as far as its form shows, or None."""
        if self._pass.has_added_losses:
            return "layers add losses of their own (add_loss, activity_regularizer)"
        return next((term.coupled for term in self.terms if term.coupled), None)

    @property
    def eager(self) -> bool:
        """Whether the model runs without a graph."""
        return self._traced.eager

    @property
    def largest_batch(self) -> int | None:
        """The batch size above which the memory that the graph needs cannot be estimated, or None."""
        return self._traced.largest_batch

    def live_bytes(self, batch: int) -> int:
        """Estimate how many bytes of tensors are alive at once for a batch of this size.

        For an eager model, this is three times what the layers returned in the last run.
        """
        if not self.eager:
            return self._traced.live_bytes(batch)
        return 3 * self._pass.bytes * batch // self._last_examples

    def run(self, batch: Batch, divisors: npt.NDArray[np.float64] | None, rows: int) -> GradientBatch:
        """Return the gradients of the part of the loss that one batch contributes.

        Each term is divided by its divisor, by 1 without `divisors`. `rows` is the number of rows that count, for a
        model of fixed batch size. Raises ModelError when the model fails.
        """
        if divisors is None:
            divisors = np.ones(max(64, len(self.terms)))
        self._last_examples = max(1, len(next(iter(batch.values()))))
        traced = self._other_sizes.get(self._last_examples, self._traced)
        result = traced.run({**batch, DIVISORS: divisors, ROWS: np.array(rows, np.int32)})
        return GradientBatch(
            np.asarray(result["sums"]),
            np.asarray(result["counts"]),
            float(result["added"]),
            [np.asarray(elements) for elements in result["elements"]],
            [np.asarray(least_and_largest) for least_and_largest in result["ranges"]],
            [None if gradient is None else gradient_value(gradient) for gradient in result["gradients"]],
            [None if tensor is None else np.asarray(tensor) for tensor in result["forward"]],
        )

    def _body(self, tensors: Tensors) -> dict[str, Any]:
        done = self._pass.run(tensors, tensors[DIVISORS], tensors.get(ROWS))
        nothing = tf.zeros((0,), tf.float64)
        return {
            "sums": tf.stack([tf.cast(term.sum, tf.float64) for term in done.terms]) if done.terms else nothing,
            "counts": counts_of(done.terms),
            "added": tf.add_n([tf.constant(0.0, tf.float64), *(tf.cast(loss, tf.float64) for loss in done.added)]),
            "elements": [term.elements for term in done.terms],
            "ranges": [term.range for term in done.terms],
            "gradients": done.gradients,
            "forward": [
                _perhaps_constant(tensor, target) for tensor, target in zip(done.forward, self.targets, strict=True)
            ],
        }

    def counting(self, note: Note, size: int | None = None) -> Traced:
        """Return a function that computes only the counts of the loss (terms, COUNTS), by a forward pass.

        `size` is the number of examples of a batch, None for that of the model.
        """
        if size not in self._counting:
            self._counting[size] = Traced(
                lambda tensors: counts_of(self._pass.forward(tensors, tensors.get(ROWS))),
                self._specs_at(size),
                note,
                self.eager,
            )
        return self._counting[size]


def gradient_value(gradient: Any) -> Value:
    """Return the value of a gradient. That of a lookup in a table is sparse, and its rows may repeat."""
    if isinstance(gradient, tf.IndexedSlices):
        shape = tuple(int(size) for size in np.asarray(gradient.dense_shape))
        return Sparse(np.asarray(gradient.values), np.asarray(gradient.indices, np.int64)[:, None], shape)
    return value_of(gradient)


def _perhaps_constant(tensor: Any, target: Target) -> Any:
    """Return a tensor whose first axis cannot be that of the examples, as far as the graph shows; None for others."""
    if target.group == GROUPS[WEIGHTS] or not isinstance(tensor, tf.Tensor) or tensor.shape.rank is None:
        return None
    return tensor if tensor.shape.rank == 0 or tensor.shape[0] is not None else None
