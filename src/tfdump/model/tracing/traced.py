"""One function over a batch: traced into a graph where possible, else run eagerly."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import tensorflow as tf

from tfdump.dtypes import STRING
from tfdump.errors import ModelError, TfdumpError
from tfdump.files.limits import allowed_bytes, check_bytes
from tfdump.model.error_text import first_line, raise_interruption
from tfdump.model.loading.lambda_code import advice_on_names
from tfdump.model.recording.call_stack import WATCHING
from tfdump.model.tensorflow_internals import context
from tfdump.model.tracing.grappler import values_untouched
from tfdump.model.tracing.memory import LiveMemory
from tfdump.model.tracing.side_effects import has_side_effects
from tfdump.model.tracing.variable_limit import limited_variables
from tfdump.tensors import Batch, InputSpec, Note, Ragged, Sparse, Value

Tensors = dict[str, Any]

CAUTIOUS_BATCH = 32
"""The largest batch for a graph whose memory cannot be estimated."""

_MUCH = 64 << 20
"""Bytes of one example above which resolving the shapes is worth its time."""


class Traced:
    """A function from the tensors of a batch, by name, to a structure of tensors.

    It is traced once for `specs`. Where that fails, `function` is None, `note` is called with the reason, and every
    `run` calls the body.
    """

    def __init__(
        self, body: Callable[[Tensors], Any], specs: Sequence[InputSpec], note: Note, eager: bool = False
    ) -> None:
        self._body = body
        self._specs = [
            tf.TensorSpec(spec.shape, tf.string if spec.dtype == STRING else spec.dtype, f"argument_{number}")
            for number, spec in enumerate(specs)
        ]
        self._names = [spec.name for spec in specs]
        self.function: Any = None
        self._memory: LiveMemory | None = None
        self._weighed = False
        if not eager:
            self._trace(note)

    def _trace(self, note: Note) -> None:
        function = tf.function(lambda *tensors: self._body(self._by_name(tensors)), autograph=False)
        try:
            # inner functions run eagerly, so that the layers in a `call` that is a tf.function are recorded
            with inner_functions_eager(), limited_variables(allowed_bytes()):
                traced = function.get_concrete_function(*self._specs)
        except TfdumpError:
            raise
        except (Exception, SystemExit) as cause:  # the user's own code may raise anything; then it runs eagerly
            raise_interruption(cause)
            note(f"the model cannot be traced ({first_line(cause)}); it runs eagerly, which is slower")
            return
        self.function = traced
        longest = max((size or 1 for spec in self._specs for size in (spec.shape or [])[1:]), default=1)
        wanted = flat_tensors(traced.structured_outputs)
        self._memory = LiveMemory(traced.graph, wanted, longest)
        if self._memory.peak(1) > _MUCH:  # perhaps only because shapes are open in the graph
            self._memory = LiveMemory(traced.graph, wanted, longest, resolve=True)

    def feed(self, batch: Batch) -> Tensors:
        """Return a batch as tensors, which `run` does not copy; raises ModelError where it cannot be converted."""
        with _explained():
            pairs = zip(self._names, self._specs, strict=True)
            return {name: _tensor(batch[name], spec.dtype) for name, spec in pairs}

    def run(self, batch: Batch) -> Any:
        """Return the result of the function for one batch; raises ModelError when the model fails on it."""
        tensors = list(self.feed(batch).values())
        with _explained():
            if self.function is not None:
                self._weigh()
                with values_untouched():
                    return self.function(*tensors)
            with inner_functions_eager(), limited_variables(allowed_bytes()):
                return self._body(self._by_name(tensors))

    def _weigh(self) -> None:
        """Raise ModelError, before the first run, when one example needs more memory than the model may request."""
        if not self._weighed and self._memory is not None:
            check_bytes(self._memory.peak(1), allowed_bytes(), "one example takes about", ModelError)
        self._weighed = True

    def _by_name(self, tensors: Sequence[Any]) -> Tensors:
        return dict(zip(self._names, tensors, strict=True))

    @property
    def eager(self) -> bool:
        """Whether the body runs without a graph."""
        return self.function is None

    @property
    def graph(self) -> Any:
        """The graph, or None."""
        return None if self.function is None else self.function.graph

    @property
    def independent(self) -> bool:
        """Whether there is a graph that may run on several threads at once, because no run affects another one.

        This is False if the caller has set a device, which applies to the caller's thread only.
        """
        if self.function is None or context.context().device_name:
            return False
        return not has_side_effects(self.function.graph)

    @property
    def largest_batch(self) -> int | None:
        """The batch size above which the memory that the graph needs cannot be estimated, or None."""
        return CAUTIOUS_BATCH if self._memory is not None and self._memory.uncertain else None

    def live_bytes(self, batch: int) -> int:
        """Estimate how many bytes of tensors are alive at once for a batch of this size; 0 without a graph."""
        return self._memory.peak(batch) if self._memory is not None else 0


@contextmanager
def _explained() -> Iterator[None]:
    """Turn the errors of a run on one batch into ModelError."""
    try:
        yield
    except TfdumpError:
        raise
    except tf.errors.ResourceExhaustedError as cause:
        raise ModelError(f"out of memory: {first_line(cause)} (lower --batch-size or --memory)") from cause
    except MemoryError:
        raise
    except (Exception, SystemExit) as cause:  # the user's own code may raise anything
        raise_interruption(cause)
        reason = advice_on_names(cause) or first_line(cause)
        raise ModelError(f"the model fails on this input: {reason}") from cause


@contextmanager
def inner_functions_eager() -> Iterator[None]:
    """While the body runs, run every `tf.function` as plain Python."""
    with WATCHING:
        before = tf.config.functions_run_eagerly()
        tf.config.run_functions_eagerly(True)
        try:
            yield
        finally:
            tf.config.run_functions_eagerly(before)


def flat_tensors(structure: Any) -> list[Any]:
    """Return the tensors of a structure without None, with composite tensors split into their parts."""
    return [leaf for leaf in tf.nest.flatten(structure, expand_composites=True) if leaf is not None]


def _tensor(values: Any, dtype: tf.DType) -> Any:
    """Return an array as a tensor; a tensor from `feed` is returned as it is."""
    if isinstance(values, tf.Tensor):
        return values
    return tf.constant(values.tolist() if dtype == tf.string else values, dtype, values.shape)


def value_of(tensor: Any) -> Value:
    """Return the value of a tensor; that of a dense one shares TensorFlow's memory."""
    if isinstance(tensor, tf.RaggedTensor):
        splits = tuple(np.asarray(splits, np.int64) for splits in tensor.nested_row_splits)
        return Ragged(np.asarray(tensor.flat_values), splits)
    if isinstance(tensor, tf.SparseTensor):
        shape = tuple(int(size) for size in np.asarray(tensor.dense_shape))
        return Sparse(np.asarray(tensor.values), np.asarray(tensor.indices), shape)
    return np.asarray(tensor)
