"""One function traced for further batch sizes, where a model fixes the size of a batch."""

from collections.abc import Callable

from tfdump.model.tracing.traced import Traced


class OtherSizes:
    """The traces of one function for other batch sizes than the one that the model declares; `trace` makes one."""

    def __init__(self, trace: Callable[[int], Traced]) -> None:
        self._trace = trace
        self._traces: dict[int, Traced] = {}

    def takes(self, examples: int) -> bool:
        """Trace the function for batches of this size, if it is not yet; return False where that fails."""
        if examples not in self._traces:
            traced = self._trace(examples)
            if traced.eager:
                return False
            self._traces[examples] = traced
        return True

    def get(self, examples: int, otherwise: Traced) -> Traced:
        """Return the trace for batches of this size; `otherwise` where there is none."""
        return self._traces.get(examples, otherwise)
