"""The model that a callback dumps, traced once: any number of runs are planned with the same probe during training."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from tfdump.api.arguments import Inputs, arrays_of
from tfdump.run.activations.options import ActivationOptions
from tfdump.run.activations.run import OpenedActivations, probe_activations
from tfdump.run.gradients.options import GradientOptions
from tfdump.run.gradients.run import OpenedGradients, probe_gradients
from tfdump.tensors import Note

if TYPE_CHECKING:
    from keras import Layer

OpenedModel = OpenedActivations | OpenedGradients


@dataclass(frozen=True)
class CallbackArrays:
    """The arrays on which a callback runs the model, and the loss objects of the user by name."""

    x: Inputs
    y: Inputs | None
    sample_weight: Inputs | None
    custom: dict[str, Any]


class TracedModel:
    """A model with its probe, which is traced again where the model is in another state than before."""

    def __init__(self, arrays: CallbackArrays, options: ActivationOptions | GradientOptions, note: Note) -> None:
        self._arrays = arrays
        self._options = options
        self._note = note
        self._opened: OpenedModel | None = None
        self._state: tuple[Any, ...] = ()

    def forget(self) -> None:
        """Release the probe."""
        self._opened = None

    @contextmanager
    def standing_still(self, model: "Layer", again: bool) -> Iterator[OpenedModel]:
        """Let the body run the model by a probe that fits its state; the training is not affected.

        `again` tells whether the probe must be traced in any case.
        """
        from tfdump.model.training.global_state import surroundings_untouched
        from tfdump.model.training.intervals import standing_still, traced_in

        state = traced_in(model)
        if self._opened is None or self._state != state or again:
            with surroundings_untouched(python=True, eager=self._options.eager):
                self._opened, self._state = None, state
                self._opened = self._open(model)
                self._opened.probe.close()
        with standing_still(self._opened.probe):
            yield self._opened

    def _open(self, model: "Layer") -> OpenedModel:
        from tfdump.model.loading.load import in_memory

        loaded, arrays = in_memory(model), self._arrays
        inputs = arrays_of(arrays.x)
        if isinstance(self._options, ActivationOptions):
            return probe_activations(loaded, inputs, self._options, self._note)
        targets = [] if arrays.y is None else arrays_of(arrays.y, "target")
        weights = [] if arrays.sample_weight is None else arrays_of(arrays.sample_weight, "sample weight")
        loaded = replace(loaded, custom=arrays.custom)
        return probe_gradients(loaded, [("x", inputs)], targets, weights, self._options, self._note)
