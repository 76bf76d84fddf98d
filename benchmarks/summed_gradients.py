"""Summing the gradients of 25 million weights over 8 batches: pairs of float64 against a plain sum in float64.

    python benchmarks/summed_gradients.py

The sums of tfdump are the same in every order of the batches, which a plain sum is not. `similar` gradients are of like
sizes in all batches, so that float64 holds their sums exactly; `scattered` ones are not. All in one process.
"""

import time
from functools import partial

import numpy as np
from measure import Row, compare, contest_here, run_script

from tfdump.accumulators.sums import ArraySum

WEIGHTS, BATCHES = 25_000_000, 8

MOST = {"similar": 4.0, "scattered": 9.0}
"""Times as long as a plain sum."""


def gradients(spread: float) -> list[np.ndarray]:
    """Return the gradients of two batches, whose sizes differ by `spread` powers of 10."""
    random = np.random.default_rng(0)
    sizes = 10 ** random.uniform(-spread, 0, WEIGHTS).astype("f4")
    return [random.standard_normal(WEIGHTS, "f4") * sizes, random.standard_normal(WEIGHTS, "f4") * sizes[::-1]]


def in_pairs(batches: list[np.ndarray]) -> float:
    """Add the batches as tfdump does; return the seconds."""
    began = time.perf_counter()
    total = ArraySum((WEIGHTS,))
    for number in range(BATCHES):
        total.add(batches[number % 2])
    total.result().astype(np.float32)
    return time.perf_counter() - began


def plain(batches: list[np.ndarray]) -> float:
    """Add the batches in float64; return the seconds."""
    began = time.perf_counter()
    total = np.zeros(WEIGHTS)
    for number in range(BATCHES):
        total += batches[number % 2]
    total.astype(np.float32)
    return time.perf_counter() - began


def race() -> list[Row]:
    """Race."""
    rows = []
    for name, spread in (("similar", 0.0), ("scattered", 12.0)):
        batches = gradients(spread)
        samples = contest_here({"tfdump": partial(in_pairs, batches), "plain": partial(plain, batches)}, warm_up=1)
        what = f"sums of {WEIGHTS // 1_000_000} M weights, {BATCHES} batches, {name}"
        rows.append(compare(what, samples["tfdump"], "sum in float64", samples["plain"], goal=MOST[name]))
    return rows


if __name__ == "__main__":
    run_script({}, race)
