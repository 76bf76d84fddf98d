"""Name scopes for layers whose names TensorFlow does not allow in a graph (`a@1`, `d:0`, an emoji)."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import tensorflow as tf

from tfdump.model.keras_internals import core
from tfdump.model.recording.patching import replaced

_FORBIDDEN = re.compile(r"[^A-Za-z0-9_.\\/>-]")


@contextmanager
def valid_name_scopes() -> Iterator[None]:
    """While the body runs, let Keras open scopes for layers of any name; the layers keep their names."""
    original = core.name_scope.__init__

    def opened(scope: Any, name: str, **options: Any) -> None:
        original(scope, name, **options)
        allowed = _FORBIDDEN.sub(".", name)
        if not allowed[:1].isalnum():
            allowed = f"layer{allowed}"
        if allowed != name:
            scope._tf_name_scope = tf.name_scope(allowed)

    with replaced(core.name_scope, "__init__", opened):
        yield
