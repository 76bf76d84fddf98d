"""Subclassed models around one question each, for the tests that save them; `kind` says which."""

from typing import Any

import keras
import tensorflow as tf
from keras import layers, ops

register = keras.saving.register_keras_serializable(package="zoo")


@register
class Inner(keras.Model):
    """A layer `inside` that is called in a loop, a branch or an unusual way, and one called `out` after it."""

    def __init__(self, kind: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.kind = kind
        self.inside = layers.Dense(3, name="inside")
        self.out = layers.Dense(2, name="out")

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "kind": self.kind}

    def build(self, shape: Any) -> None:
        self.inside.build(shape)
        self.out.build((*shape[:-1], 3))

    def call(self, x: Any) -> Any:
        result = getattr(self, f"_{self.kind}")(x)
        first, *rest = result if isinstance(result, tuple) else (result,)
        return (self.out(first), *rest) if rest else self.out(first)

    def _while_loop(self, x: Any) -> Any:
        return ops.while_loop(lambda v: True, lambda v: (self.inside(v),), (x,), maximum_iterations=3)[0]

    def _fori_loop(self, x: Any) -> Any:
        return ops.fori_loop(0, 3, lambda i, v: self.inside(v), x)

    def _scan(self, x: Any) -> Any:
        return ops.scan(lambda carry, v: (self.inside(carry) + v, carry), x, ops.stack([x, x, x]))[0]

    def _map(self, x: Any) -> Any:
        return ops.map(lambda row: self.inside(row[None])[0], x)

    def _cond(self, x: Any) -> Any:
        return ops.cond(ops.mean(x) > -1e9, lambda: self.inside(x), lambda: x)

    def _both_branches(self, x: Any) -> Any:
        return ops.cond(ops.mean(x) > -1e9, lambda: self.inside(x), lambda: self.inside(x * 2))

    def _switch(self, x: Any) -> Any:
        return ops.switch(1, [lambda v: v, self.inside], x)

    def _py_function(self, x: Any) -> Any:
        return tf.ensure_shape(tf.py_function(self.inside, [x], tf.float32), (None, 3))

    def _direct(self, x: Any) -> Any:
        return self.inside.call(x)

    def _direct_and_called(self, x: Any) -> Any:
        return self.inside(self.inside.call(x))

    def _vectorized_map(self, x: Any) -> Any:
        return ops.vectorized_map(lambda row: self.inside(row[None])[0], x)

    def _remat(self, x: Any) -> Any:
        return keras.remat(self.inside.__call__)(x)

    def _associative_scan(self, x: Any) -> Any:
        return self.inside(ops.associative_scan(lambda a, b: a + b, x, axis=1))

    def _nothing(self, x: Any) -> Any:
        y = self.inside(x)
        return y, None, y[:, :0]

    def _fft(self, x: Any) -> Any:
        y = self.inside(x)
        return (y, *ops.fft((y, ops.zeros_like(y))))

    def _complex(self, x: Any) -> Any:
        y = self.inside(x)
        return y, tf.signal.fft(tf.cast(y, tf.complex64))


@register
class Doubled(layers.Wrapper):
    """Calls what it wraps."""

    def call(self, x: Any) -> Any:
        return self.layer(x) * 2


@register
class DoubledDirectly(layers.Wrapper):
    """Calls the `call` of what it wraps."""

    def call(self, x: Any) -> Any:
        return self.layer.call(x) * 2


@register
class Fourier(layers.Layer):
    """Gives complex numbers."""

    def call(self, x: Any) -> Any:
        return tf.signal.fft(tf.cast(x, tf.complex64))


@register
class Positive(layers.Layer):
    """Gives the first values of each row as a ragged tensor, as many as are positive; and all positive ones sparse."""

    def call(self, x: Any) -> Any:
        lengths = tf.reduce_sum(tf.cast(x > 0, tf.int64), axis=1)
        return {
            "ragged": tf.RaggedTensor.from_tensor(x, lengths=lengths),
            "sparse": tf.sparse.from_dense(tf.nn.relu(x)),
        }


@register
class Sums(layers.Layer):
    """Takes what Positive gives."""

    def call(self, inputs: Any) -> Any:
        return tf.reduce_sum(inputs["ragged"], axis=1) + tf.sparse.reduce_sum(inputs["sparse"], axis=1)


@register
class WithPositive(keras.Model):
    """Positive and Sums, one after the other."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.positive = Positive(name="positive")
        self.sums = Sums(name="sums")

    def call(self, x: Any) -> Any:
        return self.sums(self.positive(x))
