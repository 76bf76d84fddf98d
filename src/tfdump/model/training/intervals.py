"""When to look at a model that is being trained: a callback of Keras that calls its own methods at intervals."""

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import keras
from keras import Layer

from tfdump.errors import ModelError
from tfdump.model.training.global_state import surroundings_untouched

BY_EPOCH, BY_BATCH = "epoch", "batch"
"""What intervals are counted in."""

_MANY = 1 << 62
"""Batches an epoch where nobody knows how many: with `steps_per_execution` Keras tells whole executions only."""

_NO_CALL = (Layer.call, keras.Model.call)
"""What a class has in the place of a `call` of its own."""

_LATE = 1024
"""Among how many ends of batches the last one is looked for: threads may tell them out of order."""


@dataclass(frozen=True)
class Moment:
    """A point of a training: the epoch that runs or has just ended, from 1, and the batches trained until then."""

    epoch: int
    batch: int


class IntervalCallback(keras.callbacks.Callback):  # type: ignore[misc] # Keras carries no types
    """Calls `begin`, `open`, `reach` and `close` during `model.fit`.

    Nothing of it waits for a batch: Keras goes on with the next one while it hands over what the last one gave. The
    end of a batch is noticed when the next one begins or the epoch ends, with the weights as they are then. `watched`
    is the model to look at: `part`, or the one that is trained.
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
        """The model to look at; raises ModelError for one that cannot be called."""
        if self._part is None and type(self.model).call in _NO_CALL:
            raise ModelError(_no_call(self.model))
        return self.model if self._part is None else self._part

    def begin(self, initial_epoch: int) -> None:
        """Called before the first batch, with the number of epochs that were trained before."""

    def open(self) -> None:
        """Called when the model has all its variables: before the first batch, if it was built by then."""

    def reach(self, moment: Moment) -> None:
        """Called at the end of every interval."""

    def close(self) -> None:
        """Called at the end of the training, unless that ends with an error."""

    def _forget(self) -> None:
        self._begun = self._opened = False
        self._epoch = self._before = self._last = 0

    def on_train_begin(self, logs: Any = None) -> None:
        """Begin anew, whatever became of an earlier training."""
        self._forget()
        if _is_built(self.watched):
            self._open()

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Note which epoch runs."""
        self._epoch = epoch
        self._ends.clear()
        if not self._begun:
            self._begun = True
            self.begin(epoch)
            self._before = self._last = _batches_before(self.model) if epoch else 0

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Reach the end of the batch before."""
        if batch:
            self._open()
            if self._on == BY_BATCH:
                self._reach_batch(batch)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Count, in whatever thread: Keras may be at a later batch already."""
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
        """End."""
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
    """Return a part of a model that is to be watched, or None; raises ModelError for anything else."""
    if part is not None and not isinstance(part, Layer):
        raise ModelError(f"model is a {type(part).__name__}, and a Keras model or layer is needed (gan.generator)")
    if part is not None and type(part).call in _NO_CALL:
        raise ModelError(_no_call(part))
    return part


def _no_call(model: Any) -> str:
    parts = [name for name, value in vars(model).items() if isinstance(value, Layer) and not name.startswith("_")]
    example = parts[0] if parts else "part"
    return (
        f"{type(model).__name__} has no call of its own and cannot be run as a whole; name the part to look at: "
        f"DumpCallback(..., model=model.{example})"
    )


def _is_built(model: Any) -> bool:
    """Tell whether every layer has its variables: making them here would draw their initial values in another order."""
    return all(layer.built for layer in model._flatten_layers())


def _batches_before(model: Any) -> int:
    """Return how many batches a model was trained with before an epoch that is not the first, as its optimizer tells.

    Batches that a loss scale left out are not counted.
    """
    optimizer = getattr(model, "optimizer", None)
    if optimizer is None:
        return 0
    return int(optimizer.iterations) * (getattr(optimizer, "gradient_accumulation_steps", None) or 1)


def traced_in(model: Any) -> tuple[Any, ...]:
    """Return what a traced probe took from a model as constant: when it has changed, the probe has to be made anew."""
    layers = tuple((id(layer), bool(layer.trainable)) for layer in model._flatten_layers())
    weights = tuple(id(variable) for variable in model.trainable_weights)
    return layers, weights, id(getattr(model, "_compile_loss", None))


class Renewable(Protocol):
    """A probe that can be used again after the model was trained on."""

    @property
    def eager(self) -> bool:
        """Whether the model runs without a graph."""

    def renew(self) -> None:
        """Take the model as it is now for what `close` puts it back to."""

    def close(self) -> None:
        """Put the model back to what it was."""


@contextmanager
def standing_still(probe: Renewable) -> Iterator[None]:
    """Let the body run a model by its probe in the middle of a training, which then goes on as if nothing had been."""
    with surroundings_untouched(python=probe.eager, eager=probe.eager):
        probe.renew()
        try:
            yield
        finally:
            probe.close()
