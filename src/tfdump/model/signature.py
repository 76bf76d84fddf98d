"""How a model is called: its inputs with names, shapes and dtypes, and how tensors become arguments of the call."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tfdump.errors import ModelError
from tfdump.tensors import InputSpec


@dataclass(frozen=True)
class Signature:
    """The inputs of a model and the form of its call.

    `structure` is the structure of the first argument of the call, with the names of inputs as leaves. Where it is
    None, each input is an argument of its name; with `spread`, it is a list of positional arguments. `keywords` are
    inputs that are separate arguments beside it. `declared` tells whether the model itself defines all this.
    """

    specs: tuple[InputSpec, ...]
    structure: Any
    declared: bool
    spread: bool = False
    keywords: tuple[str, ...] = ()

    @property
    def batch_size(self) -> int | None:
        """The number of examples that a call must have, None where the model does not fix it."""
        sizes = {spec.shape[0] for spec in self.specs if spec.shape}
        return next(iter(sizes - {None}), None)

    def arguments(self, tensors: Mapping[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return the positional and keyword arguments of the call; inputs without a tensor become None."""
        if self.structure is None:
            return (), dict(tensors)
        import keras

        filled = keras.tree.map_structure(tensors.get, self.structure)
        named = {name: tensors[name] for name in self.keywords if name in tensors}
        return (tuple(filled) if self.spread else (filled,)), named

    def declared_specs(self) -> list[InputSpec]:
        """Return the inputs that the model needs with the shapes that it declares, or with which it was built.

        Raises ModelError where it declares none.
        """
        specs = []
        for spec in self.specs:
            if spec.optional:
                continue
            shape = spec.built or spec.shape
            if shape is None:
                raise ModelError(
                    f"the model does not declare the shape of its input '{spec.name}' (add an INPUT to run it on)"
                )
            specs.append(InputSpec(spec.name, shape, spec.dtype or "float32"))
        return specs

    @property
    def arguments_by_name(self) -> list[str]:
        """The names of inputs that are names of arguments of the call."""
        return [spec.name for spec in self.specs] if self.structure is None else list(self.keywords)
