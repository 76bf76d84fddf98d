"""What a dump stores about the values of a tensor beside them: statistics, and a histogram for percentiles."""

from collections.abc import Mapping
from typing import Any

from tfdump.accumulators.quantile_histogram import QuantileAccumulator
from tfdump.accumulators.statistics import ExactStatistics
from tfdump.dump.attributes import statistics_attributes
from tfdump.tensors import Array


class TensorStatistics:
    """Gathers the statistics of a numeric tensor that arrives batch by batch and, with `quantiles`, its histogram.

    Neither depends on the order of the batches, so that the records of parts of a run merge into that of the run.
    """

    def __init__(self, quantiles: bool) -> None:
        self._statistics = ExactStatistics()
        self._quantiles = QuantileAccumulator() if quantiles else None

    @property
    def quantiles(self) -> bool:
        """Whether there is a histogram."""
        return self._quantiles is not None

    def add(self, values: Array) -> None:
        """Add the values of one batch; text is ignored."""
        self._statistics.add(values)
        if self._quantiles is not None:
            self._quantiles.add(values)

    def merge(self, other: "TensorStatistics", times: int = 1) -> None:
        """Add everything that was added to another, so many times.

        Raises ValueError where only one of the two has a histogram.
        """
        if self.quantiles != other.quantiles:
            raise ValueError("only a part of its statistics has a histogram")
        self._statistics.merge(other._statistics, times)
        if self._quantiles is not None and other._quantiles is not None:
            self._quantiles.merge(other._quantiles, times)

    def state(self) -> dict[str, Any]:
        """Return the record as JSON that preserves every bit."""
        quantiles = None if self._quantiles is None else self._quantiles.state()
        return {"exact": self._statistics.state(), "quantiles": quantiles}

    @classmethod
    def of_state(cls, state: Mapping[str, Any]) -> "TensorStatistics":
        """Return the record with this `state`."""
        record = cls(quantiles=False)
        record._statistics = ExactStatistics.of_state(state["exact"])
        if state["quantiles"] is not None:
            record._quantiles = QuantileAccumulator.of_state(state["quantiles"])
        return record

    def attributes(self) -> dict[str, Any]:
        """Return what was gathered as attributes of a dataset: `stat_...`, and `quantile_...` of the histogram."""
        quantiles = {} if self._quantiles is None else self._quantiles.histogram().attributes()
        return statistics_attributes(self._statistics.result()) | quantiles
