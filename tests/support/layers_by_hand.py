"""The layers of a functional model, called one by one on values that come from elsewhere."""

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

Values = dict[str, np.ndarray]
"""Values by address."""


class LayersByHand:
    """Calls each layer of a functional model eagerly, on what the other side has in the place of its inputs.

    The graph is that of Keras's own history of tensors. Addresses are names, and `@1` for the second call of a layer.
    """

    def __init__(self, model: keras.Model, x: Any) -> None:
        self._model = model
        arrays = x if isinstance(x, (list, tuple)) else [x]
        self._inputs = {id(tensor): np.asarray(value) for tensor, value in zip(model.inputs, arrays, strict=True)}

    def own(self, other: Mapping[str, np.ndarray]) -> Values:
        """What each layer makes of the other side's values."""
        return self._walk(other.get)[0]

    def outputs_without(self, address: str, other: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """The final outputs if the error that the other side adds in one layer were not there."""
        own = self.own(other)
        errors = {name: other[name] - own[name] for name in other if name in own}
        return self._walk(lambda name, value: value if name == address else value + errors.get(name, 0))[1]

    def _walk(self, after: Any) -> tuple[Values, list[np.ndarray]]:
        before: Values = {}
        known: dict[int, np.ndarray] = {}

        def value(tensor: Any) -> np.ndarray:
            if id(tensor) in self._inputs:
                return self._inputs[id(tensor)]
            if id(tensor) not in known:
                operation, node, _ = tensor._keras_history
                arguments = operation._inbound_nodes[node].arguments
                args, kwargs = keras.tree.map_structure(of_argument, (arguments.args, arguments.kwargs))
                address = operation.name + (f"@{node}" if node else "")
                before[address] = np.asarray(operation(*args, **kwargs))
                known[id(tensor)] = after(address, before[address])
            return known[id(tensor)]

        def of_argument(argument: Any) -> Any:
            return value(argument) if isinstance(argument, keras.KerasTensor) else argument

        return before, [value(tensor) for tensor in self._model.outputs]


def relative(reference: np.ndarray, value: np.ndarray) -> float:
    """The relative L2 error of a value."""
    reference, value = (np.asarray(array, np.float64).ravel() for array in (reference, value))
    return float(np.linalg.norm(value - reference) / np.linalg.norm(reference))
