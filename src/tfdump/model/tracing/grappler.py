"""Which rewrites of a graph TensorFlow may make."""

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tfdump.model.tensorflow_internals import RewriterConfig, context

_OFF = ("remapping", "arithmetic_optimization", "constant_folding")


@contextmanager
def values_untouched() -> Iterator[None]:
    """While the body runs, let no rewrite depend on which tensors are asked for, in functions that this thread calls.

    TensorFlow otherwise fuses a convolution with its activation, folds `x * a * b` into `x * (a * b)` or reorders sums
    where nobody asks for what lies between, and the last bits of everything behind it change. Asking for more would
    change the numbers.
    """
    local = context.context()._thread_local_data
    before = local.function_call_options
    local.function_call_options = _options()
    try:
        yield
    finally:
        local.function_call_options = before


@functools.cache
def _options() -> Any:
    running = context.context()
    config = running.config
    config.allow_soft_placement = True
    for name in _OFF:
        setattr(config.graph_options.rewrite_options, name, RewriterConfig.OFF)
    return context.FunctionCallOptions(config_proto=config)
