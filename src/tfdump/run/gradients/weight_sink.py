"""The weights before each step of a gradient descent, stored beside the gradients."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tfdump.dtypes import kind_of
from tfdump.dump.axis0 import NONE
from tfdump.dump.collectors import Collector, OpenCollector
from tfdump.dump.kinds.tensor_statistics import TensorStatistics
from tfdump.dump.layout import count_overflow
from tfdump.run.options import StoreOptions
from tfdump.tensors import TensorInfo

if TYPE_CHECKING:
    from tfdump.model.gradients.wrt import Target


class WeightSink:
    """Takes the value of one weight before each step."""

    def __init__(self, info: TensorInfo, store: StoreOptions, open_collector: OpenCollector) -> None:
        self.info = info
        self.overflowed = 0
        self._store = store
        self._open = open_collector
        self._collector: Collector | None = None
        self._statistics = TensorStatistics(store.quantiles) if store.statistics else None

    def add(self, value: Any) -> None:
        """Add the value before a step."""
        if self._statistics is not None:
            self._statistics.add(value)
        if self._store.dtype is not None and kind_of(self.info.dtype) == "f":
            self.overflowed += count_overflow(value, np.dtype(self._store.dtype))
        if self._collector is None:
            self._collector = self._open(self.info, value, NONE)
        self._collector.append(value)

    def finish(self) -> tuple[Collector | None, dict[str, Any]]:
        """Return the collector, None where there was no step, and the attributes that it does not set itself."""
        extra = self._statistics.attributes() if self._statistics is not None else {}
        return self._collector, extra | ({"overflowed": np.int64(self.overflowed)} if self.overflowed else {})


def store_weights(targets: Sequence["Target"], sinks: Mapping[str, WeightSink]) -> None:
    """Give the weights as they are now to their sinks, which are named by address."""
    for target in targets:
        if target.info.address in sinks:
            sinks[target.info.address].add(np.asarray(target.weight.value.numpy()))
