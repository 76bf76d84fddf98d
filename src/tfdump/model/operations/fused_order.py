"""The layer that comes last among those whose operations a converter fused into one tensor.

The order in the tensor's name is no evidence by itself. A fused activation comes last. A layer that has an operation
before the tensor began earlier. The names of the weights of a matrix product or convolution show what was folded into
them: `bn/batchnorm/mul_1` is an operation after it, `d/MatMul;d/BiasAdd` shows that one before it was folded in.
"""

import re
from collections.abc import Iterable, Sequence

from tfdump.model.operations.owners import Nameable, NamePart, OwnedTensors, Owner
from tfdump.model.operations.scopes import last_part, parts

ACTIVATIONS = frozenset(
    {"Relu", "Relu6", "Elu", "Tanh", "Sigmoid", "Maximum", "Minimum", "clip_by_value", "LeakyRelu", "Selu", "HardSwish"}
)
"""Operations that TFLite fuses into the preceding one."""

NAME, FLOW, WEIGHTS = "name", "flow", "weights"
"""What tells an address that the name of one operation does not tell alone: the attribute `address_by`."""

_PRODUCT = re.compile(
    r"(Batch)?MatMul(V\d)?|convolution|depthwise|separable_conv\dd|conv_transpose|Conv\dD.*|[Ee]insum.*"
)
_SUM = re.compile(r"(BiasAdd|add|Add|AddV2)(_\d+)?")
_DIVISION = frozenset({"truediv", "RealDiv", "div", "divide"})
_NORMALIZING = "batchnorm"
SHAPING = frozenset({"Reshape", "Squeeze", "ExpandDims"})
"""Operations that change only the shape."""


def last_owner(graph: OwnedTensors, position: int) -> Owner | None:
    """Return the innermost owner of the last operation that was fused into a tensor; None where it is unknown."""
    owners = graph.owners(position)
    tensor, parts = graph.tensors[position], graph.parts[position]
    if tensor.activated:
        acting = [part for part in parts if part.leaf in ACTIVATIONS]
        return _only(part.owner for part in [part for part in acting if part.leaf.startswith("Relu")] or acting)
    if len(owners) <= 1:
        return owners[0] if owners else None
    later = [owner for owner in owners if not _began_before(graph, owner, position, owners)]
    if len(later) == 1:
        return later[0]
    if tensor.kind == "RESHAPE":  # the converter has moved it behind the others
        rest = list(dict.fromkeys(part.owner for part in parts if part.leaf not in SHAPING))
        before = last_owner(graph, tensor.reads[0]) if len(rest) > 1 and tensor.reads else _only(rest)
        return before if before in rest else None
    if any(part.leaf in _DIVISION for part in parts) and all(part.leaf in _DIVISION | {"Sqrt"} for part in parts):
        return _only(part.owner for part in parts if part.leaf in _DIVISION)
    return _behind_product(graph, tensor, parts) if tensor.weights is not None else None


def last_operation(tensor: Nameable) -> str:
    """Return the name of the last operation that was fused into a tensor.

    Of a product with a bias, this is the sum with the bias where the name lists it. The sum with the bias of a product
    without one is not in this tensor: the converter moved it into what reads the tensor.
    """
    last = last_part(tensor.name)
    if tensor.weights is None or tensor.activated:
        return last
    scope = last.rpartition("/")[0]
    own = [part for part in parts(tensor.name) if part.rpartition("/")[0] == scope]
    sums = [part for part in own if _SUM.fullmatch(part.rpartition("/")[2])]
    rest = [part for part in own if part not in sums]
    return next(iter((sums or rest) if tensor.bias is not None else (rest or sums)), last)


def evidence_for(graph: OwnedTensors, position: int) -> str:
    """Return what tells the last owner of a tensor: `flow`, `name` for an order of names, "" for one certain name."""
    owners = graph.owners(position)
    if position in graph.restored:
        return FLOW
    if graph.tensors[position].activated or len(owners) <= 1:
        return ""
    later = [owner for owner in owners if not _began_before(graph, owner, position, owners)]
    return FLOW if len(later) == 1 else NAME


def is_product(part: NamePart) -> bool:
    """Tell whether the operation is the product of a matrix product or convolution."""
    return any(_PRODUCT.fullmatch(word) for word in part.place.own)


def folded_before(graph: OwnedTensors, tensor: Nameable) -> bool | None:
    """Tell whether an operation before a matrix product or convolution was folded into it; None where it is unknown.

    Plain weights have the name of the product. They have the name of the whole operation if they were multiplied with
    something that came before it. So does the bias of a matrix product to which a product of the weights was added.
    An operation that was folded in from behind hides those before. A number that is added before a convolution without
    padding leaves no trace, and neither does a product before a matrix product without a bias.
    """
    weights = graph.parts_of(tensor.weights or "")
    if not any(map(is_product, weights)):
        return None
    if not all(map(is_product, weights)):
        return True
    if tensor.kind != "FULLY_CONNECTED":
        return None if tensor.unpadded else False
    if tensor.bias is None:
        return None
    bias = graph.parts_of(tensor.bias)
    if any(map(is_product, bias)):
        return True
    return False if any(part.owner == weights[0].owner for part in bias) else None


def _behind_product(graph: OwnedTensors, tensor: Nameable, parts: Sequence[NamePart]) -> Owner | None:
    """Return the last owner of a matrix product or convolution, including those folded into its constants."""
    product = _only(part.owner for part in parts if is_product(part))
    if product is None:
        return None
    others = [part for part in parts if part.owner != product]
    if tensor.weights:
        names = [graph.parts_of(name) for name in (tensor.weights, tensor.bias) if name]
        folded = [
            [part.owner for part in name if part.owner != product] for name in names if not any(map(is_product, name))
        ]
        if tensor.kind != "FULLY_CONNECTED":
            folded.append([part.owner for part in others if _NORMALIZING in part.place.own])
        after = [owners for owners in folded if owners]
        if after:
            return _only(after[-1])  # the product with a constant comes before the sum
        return _by_order(product, parts) if tensor.kind == "FULLY_CONNECTED" and folded_before(graph, tensor) else None
    if tensor.kind != "FULLY_CONNECTED":
        return _only(part.owner for part in others) if all(_NORMALIZING in p.place.own for p in others) else None
    return _by_order(product, parts)


def _by_order(product: Owner, parts: Sequence[NamePart]) -> Owner | None:
    """Return the last owner of a matrix product whose constants do not show it.

    Operations before the product come before it in the name, and operations behind it come behind it.
    """
    first = next(number for number, part in enumerate(parts) if is_product(part))
    return _only(part.owner for part in parts[first:] if part.owner != product) or (
        product if all(part.owner == product for part in parts[first:]) else None
    )


def _began_before(graph: OwnedTensors, owner: Owner, position: int, owners: Sequence[Owner]) -> bool:
    """Tell whether an owner has an operation before a tensor, and none of the others is inside it."""
    if any(owner.holds(other) for other in owners if other != owner):
        return False
    return any(graph.follows(position, member) for member in graph.members[owner] if member < position)


def _only(owners: Iterable[Owner]) -> Owner | None:
    distinct = list(dict.fromkeys(owners))
    return distinct[0] if len(distinct) == 1 else None
