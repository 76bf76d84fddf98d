"""The global state of a process (random states, counters of automatic names), and restoring it."""

import copy
import functools
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np

from tfdump.model.keras_internals import GLOBAL_SEED_GENERATOR, global_state
from tfdump.model.recording.patching import replaced
from tfdump.model.tensorflow_internals import context, stateful_random_ops

_NAMES = "object_name_uids"
"""The key under which Keras counts the objects of each name, for `dense_1` after `dense`."""

_OWN_SEED = 0x7F_D0_3B
"""The seed of eager operations inside the body; with the seed outside, they would change its kernels' state."""


@contextmanager
def surroundings_untouched(python: bool, eager: bool) -> Iterator[None]:
    """Run the body, then restore the global state that it changed.

    This restores Keras's counters of names, and its global seed generator if there was none before. With `python` (the
    body runs Python code of a model), it restores the random state of Python and of NumPy's global generator. With
    `eager` operations, it restores that of TensorFlow: the seed, and the global `tf.random.Generator`. The state of a
    model is restored by `tfdump.model.state`.
    """
    with ExitStack() as stack:
        stack.enter_context(_keras_untouched())
        if python:
            stack.enter_context(_drawing_untouched(random, random.getstate, random.setstate))
            stack.enter_context(_drawing_untouched(np.random, np.random.get_state, np.random.set_state))
        if eager:
            stack.enter_context(_tensorflow_untouched())
        yield


@contextmanager
def _keras_untouched() -> Iterator[None]:
    names = copy.copy(global_state.get_global_attribute(_NAMES))
    generator = global_state.get_global_attribute(GLOBAL_SEED_GENERATOR)
    try:
        yield
    finally:  # Keras treats None as absent
        global_state.set_global_attribute(_NAMES, names)
        global_state.set_global_attribute(GLOBAL_SEED_GENERATOR, generator)


@contextmanager
def _drawing_untouched(module: Any, get: Callable[[], Any], put: Callable[[Any], None]) -> Iterator[None]:
    """Restore the state of a module's global generator if this thread has drawn from it.

    Otherwise the state stays as it is: threads that prepare the next batches may have drawn from it, and would draw the
    same numbers again.
    """
    thread, drew = threading.get_ident(), []

    def noticed(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            if threading.get_ident() == thread:
                drew.append(True)
            return function(*args, **kwargs)

        return call

    generator = getattr(module.random, "__self__", None)  # the functions of the module are its methods
    methods = [name for name, function in vars(module).items() if getattr(function, "__self__", None) is generator]
    drawing = [name for name in methods if name not in ("getstate", "get_state")]
    before = get()
    try:
        with ExitStack() as stack:
            for name in drawing:
                stack.enter_context(replaced(module, name, noticed(getattr(module, name))))
            yield
    finally:
        if drew:
            put(before)


@contextmanager
def _tensorflow_untouched() -> Iterator[None]:
    running = context.context()
    seed, drawn = running._seed, getattr(running, "_rng", None)
    generator = stateful_random_ops.global_generator
    state = None if generator is None else generator.state.numpy()
    if seed is not None:
        running._seed, running._rng = _OWN_SEED, random.Random(_OWN_SEED)
    try:
        yield
    finally:
        if seed is not None:
            running._seed, running._rng = seed, drawn
        stateful_random_ops.global_generator = generator
        if generator is not None:
            generator.state.assign(state)
