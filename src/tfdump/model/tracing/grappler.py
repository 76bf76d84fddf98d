"""The graph rewrites that TensorFlow may make."""

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tfdump.model.tensorflow_internals import RewriterConfig, context

_OFF = ("remapping", "arithmetic_optimization", "constant_folding")


@contextmanager
def values_untouched() -> Iterator[None]:
    """While the body runs, turn off the rewrites that depend on the requested tensors, for functions of this thread.

    Otherwise, TensorFlow fuses a convolution with its activation, folds `x * a * b` into `x * (a * b)`, or reorders
    sums if nothing requests the tensors in between. This changes the last bits of all later tensors, so that a request
    for more tensors would change the numbers.
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
