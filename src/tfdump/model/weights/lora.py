"""LoRA: what the low-rank factors of a layer add to its weight."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import numpy as np
from keras import Layer

from tfdump.address import LORA
from tfdump.model.gradients.weights import Weight
from tfdump.model.weights.quantized import numbers
from tfdump.model.weights.records import WeightTensor
from tfdump.tensors import Array

_ADAPTED = ("kernel", "embeddings")
"""The weights to which a layer of Keras can add the product of two factors, which it calls `lora_NAME_a` and `_b`."""


def lora_products(layers: Iterable[Layer], weights: Iterable[Weight], first_order: int) -> list[WeightTensor]:
    """Return the products of the factors of all layers with LoRA, as they are added to their weights.

    `first_order` is the place of the first one. A product is `alpha / rank * a @ b`, in float32.
    """
    by_variable = {id(weight.variable): weight for weight in weights}
    products: list[WeightTensor] = []
    for layer in (layer for layer in layers if getattr(layer, "lora_enabled", False)):
        for name in _ADAPTED:
            factors = getattr(layer, f"lora_{name}_a", None), getattr(layer, f"lora_{name}_b", None)
            weight = by_variable.get(id(getattr(layer, f"_{name}", None)))
            if weight is not None and all(factor is not None for factor in factors):
                products.append(_product(layer, weight, factors, first_order + len(products)))
    return products


def _product(layer: Any, weight: Weight, factors: tuple[Any, Any], order: int) -> WeightTensor:
    suffix = f":{LORA}"
    shape = (*factors[0].shape[:-1], factors[1].shape[-1])
    described = (("lora_rank", np.int64(layer.lora_rank)), ("lora_alpha", np.float64(layer.lora_alpha)))
    info = replace(
        weight.info(order),
        address=weight.address + suffix,
        structure=weight.structure + suffix,
        dtype="float32",
        shape=tuple(int(size) for size in shape),
        attributes=described,
    )
    candidate = replace(weight.candidate, address=info.address)
    return WeightTensor(info, candidate, _read(layer.lora_alpha / layer.lora_rank, factors))


def _read(factor: float, factors: tuple[Any, Any]) -> Callable[[], Array]:
    return lambda: np.float32(factor) * (numbers(factors[0]) @ numbers(factors[1]))
