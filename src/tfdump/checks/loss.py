"""The loss of a dump of gradients: where it is NaN or infinite."""

import numpy as np
import numpy.typing as npt

from tfdump.checks.evidence import ElementPlace, Evidence, Tally
from tfdump.checks.magnitudes import Magnitudes
from tfdump.checks.nonfinite import infinite, nan
from tfdump.checks.records import Finding, Thresholds
from tfdump.dump import layout


def loss_findings(loss: npt.NDArray[np.float64], first_example: int | None, limits: Thresholds) -> list[Finding]:
    """Return what is wrong with a loss: a scalar, or one number per step or example.

    `first_example` is the number of the first example if there is one loss per example, else None.
    """
    magnitudes = Magnitudes(loss.dtype, ())
    magnitudes.add(loss.reshape(-1), 0)
    tallies = {}
    for name, count in magnitudes.counts.items():
        place = None
        if count.first is not None:
            example = None if first_example is None else first_example + count.first
            place = ElementPlace(example, (count.first,) if loss.ndim else (), count.value)
        tallies[name] = Tally(count.count, place)
    evidence = Evidence(layout.LOSS, loss.size, tallies=tallies)
    return [finding for find in (nan, infinite) if (finding := find(evidence, limits)) is not None]
