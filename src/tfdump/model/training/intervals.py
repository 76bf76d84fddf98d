"""A Keras callback that calls its own methods at intervals of a training."""

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import keras
from keras import Layer

from tfdump.dump import layout
from tfdump.errors import ModelError
from tfdump.model.training.global_state import surroundings_untouched

BY_EPOCH, BY_BATCH = layout.EPOCH, layout.BATCH
"""The units of intervals."""

_MANY = 1 << 62
"""The number of batches per epoch where it is unknown; with `steps_per_execution`, Keras counts executions."""

_NO_CALL = (Layer.call, keras.Model.call)
"""The `call` of a class that does not define its own."""

_LATE = 1024
"""How many ends of batches are remembered to find the last one, as threads may report them out of order."""


@dataclass(frozen=True)
class Moment:
    """A point of a training: the epoch that runs or has just ended, from 1, and the number of batches until then."""

    epoch: int
    batch: int


class IntervalCallback(keras.callbacks.Callback):  # type: ignore[misc] # Keras carries no types
    """Calls `begin`, `open`, `reach` and `close` during `model.fit`.

    It never waits for a batch, so Keras can start the next batch before it reports the last one. The callback notices
    the end of a batch when the next one begins or the epoch ends, with the weights of that moment. `watched` is the
    model to observe: `part`, or the model that is trained.
    """

    def __init__(self, every: int, on: str, part: Layer | None = None) -> None:
        super().__init__()
        self._part = part
        self.async_safe = True  # so that Keras does not wait at `on_train_batch_end`, which only counts
        self._every = every
        self._on = on
        self._ends: deque[int] = deque(maxlen=_LATE)
        self._forget()

    @property
    def watched(self) -> Layer:
        """The model to observe; raises ModelError for one that cannot be called."""
        if self._part is None and type(self.model).call in _NO_CALL:
            raise ModelError(_no_call(self.model))
        return self.model if self._part is None else self._part

    def begin(self, initial_epoch: int) -> None:
        """Called before the first batch, with the number of earlier epochs."""

    def open(self) -> None:
        """Called when the model has all its variables: before the first batch, if it was built by then."""

    def reach(self, moment: Moment) -> None:
        """Called at the end of every interval."""

    def close(self) -> None:
        """Called at the end of the training, unless it ends with an error."""

    def _forget(self) -> None:
        self._begun = self._opened = False
        self._epoch = self._before = self._last = 0

    def on_train_begin(self, logs: Any = None) -> None:
        """Start again, however an earlier training ended."""
        self._forget()
        if _is_built(self.watched):
            self._open()

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Note the epoch that runs."""
        self._epoch = epoch
        self._ends.clear()
        if not self._begun:
            self._begun = True
            self.begin(epoch)
            self._before = self._last = _batches_before(self.model) if epoch else 0

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Reach the end of the previous batch."""
        if batch:
            self._open()
            if self._on == BY_BATCH:
                self._reach_batch(batch)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Count the batch, in any thread: Keras may already be at a later batch."""
        self._ends.append(batch + 1)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Reach the end of the last batch, or of the epoch."""
        self._open()
        ended = min(max(self._ends, default=0), (self.params or {}).get("steps") or _MANY)
        if self._on == BY_BATCH:
            self._reach_batch(ended)
        elif (epoch + 1) % self._every == 0:
            self.reach(Moment(epoch + 1, self._before + ended))
        self._before += ended

    def on_train_end(self, logs: Any = None) -> None:
        """Close the callback."""
        self.close()

    def _open(self) -> None:
        if not self._opened:
            self._opened = True
            self.open()

    def _reach_batch(self, ended: int) -> None:
        """Reach a batch of this epoch; several may have passed at once (`steps_per_execution`)."""
        batch = self._before + ended
        if batch // self._every > self._last // self._every:
            self.reach(Moment(self._epoch + 1, batch))
        self._last = batch


def check_part(part: Any) -> Layer | None:
    """Return a part of a model to observe, or None; raises ModelError for anything else."""
    if part is not None and not isinstance(part, Layer):
        raise ModelError(
            f"model is a {type(part).__name__}, but must be a Keras model or layer (for example gan.generator)"
        )
    if part is not None and type(part).call in _NO_CALL:
        raise ModelError(_no_call(part))
    return part


def _no_call(model: Any) -> str:
    parts = [name for name, value in vars(model).items() if isinstance(value, Layer) and not name.startswith("_")]
    example = parts[0] if parts else "part"
    return (
        f"{type(model).__name__} does not define call, so it cannot run as a whole (name the part to dump: "
        f"DumpCallback(..., model=model.{example}))"
    )


def _is_built(model: Any) -> bool:
    """Tell whether every layer has its variables: creating them here would draw initial values in another order."""
    return all(layer.built for layer in model._flatten_layers())


def _batches_before(model: Any) -> int:
    """Return the number of batches of the epochs before, which the optimizer counts.

    Batches that a loss scale skipped are not included.
    """
    optimizer = getattr(model, "optimizer", None)
    if optimizer is None:
        return 0
    return int(optimizer.iterations) * (getattr(optimizer, "gradient_accumulation_steps", None) or 1)


def traced_in(model: Any) -> tuple[Any, ...]:
    """Return the parts of a model that are constant in a traced probe; when they change, a new probe is needed."""
    layers = tuple((id(layer), bool(layer.trainable)) for layer in model._flatten_layers())
    weights = tuple(id(variable) for variable in model.trainable_weights)
    return layers, weights, id(getattr(model, "_compile_loss", None))


class Renewable(Protocol):
    """A probe that can be used again after further training of the model."""

    @property
    def eager(self) -> bool:
        """Whether the model runs without a graph."""

    def renew(self) -> None:
        """Let `close` restore the state that the model has now."""

    def close(self) -> None:
        """Restore the state of the model."""


@contextmanager
def standing_still(probe: Renewable) -> Iterator[None]:
    """Let the body run a probe in the middle of a training, which then continues as if it had not run."""
    with surroundings_untouched(python=probe.eager, eager=probe.eager):
        probe.renew()
        try:
            yield
        finally:
            probe.close()
