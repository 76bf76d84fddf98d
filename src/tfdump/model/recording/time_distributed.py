"""Layers within TimeDistributed, which calls its layer's `call` directly, once per time step."""

import functools
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from keras.layers import TimeDistributed

from tfdump.model.recording.frames import Frame, Hook
from tfdump.model.recording.patching import replaced


class TimeDistributedSteps(Hook):
    """Records the output of a layer within TimeDistributed once for all time steps, as (examples, time, ...)."""

    @contextmanager
    def around(self, frame: Frame, args: Any, kwargs: Mapping[str, Any]) -> Iterator[None]:
        """Wrap the `call` of the layer within."""
        wrapper = frame.operation
        if not isinstance(wrapper, TimeDistributed):
            yield
            return
        call, steps = wrapper.layer.call, self.recording.steps()

        @functools.wraps(call)
        def stepped(*args: Any, **kwargs: Any) -> Any:
            if self.recording.current is not frame:
                return call(*args, **kwargs)
            with steps.one():
                return self.recording.call(lambda _, *a, **k: call(*a, **k), wrapper.layer, args, kwargs)

        with replaced(wrapper.layer, "call", stepped):
            yield
        steps.stack()
