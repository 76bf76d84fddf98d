"""Layers of a user's own that run under Keras 2 and Keras 3, for files that Keras 2 saves: see make.py."""

from typing import Any

from tensorflow import keras

layers = keras.layers


@keras.utils.register_keras_serializable("keras2_house")
class Block(layers.Layer):
    """Layers that are attributes, in an order that is not that of the alphabet, a list of them, and a weight."""

    def __init__(self, units: int = 4, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.units = units
        self.widen = layers.Dense(units, activation="tanh", name="widen")
        self.again = layers.Dense(units, name="again")
        self.norms = [layers.BatchNormalization(name="first_norm"), layers.BatchNormalization(name="second_norm")]

    def build(self, shape: Any) -> None:
        self.scale = self.add_weight(name="scale", shape=(self.units,), initializer="ones")
        super().build(shape)

    def call(self, x: Any) -> Any:
        y = self.again(self.widen(x))
        for norm in self.norms:
            y = norm(y)
        return y * self.scale

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "units": self.units}


@keras.utils.register_keras_serializable("keras2_house")
class Net(keras.Model):
    """A subclassed model of layers of equal shapes, which their order in a file tells apart."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.steps = []
        self.blocks = []
        self.out = layers.Dense(4, name="out")
        for number in range(3):
            self.blocks.append(layers.Dense(4, name=f"block_{number}"))
        self.steps.append(layers.Dense(4, name="step"))
        self.inner = keras.Sequential([layers.Dense(4, name="a"), layers.BatchNormalization(name="b")], name="inner")
        self.parts = {"second": layers.Dense(4, name="second"), "first": layers.Dense(4, name="first")}
        self.tail = Block(4, name="tail")
        self._hidden = layers.Dense(4, name="hidden")

    def call(self, x: Any) -> Any:
        for block in self.blocks:
            x = keras.activations.tanh(block(x))
        x = self.inner(self.steps[0](x))
        x = self.parts["second"](x) - self.parts["first"](x)
        return self.out(self._hidden(self.tail(x)))

    def get_config(self) -> dict[str, Any]:
        return {"name": self.name}


def bent(x: Any) -> Any:
    """An activation."""
    return x * keras.activations.sigmoid(x) * 1.5
