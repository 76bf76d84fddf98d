"""Whether `tf.vectorized_map` may convert a graph, decided from the operations before it runs.

Some conversions end the process (batched matrix products with weights, hence EinsumDense and MultiHeadAttention), some
raise errors, and some give wrong numbers (half precision, 3D pooling). The list holds only operations that were
measured to be right. They were compared with a loop over the examples in more than 600 small models (every activation,
dense and convolutional layers, pooling, normalization, embeddings, merging, losses, single operations) and in 120
random compositions, at 2, 7 and 64 examples. They agree to 1e-5 of the largest value, seven of the random compositions
only in float64.

A conversion depends on which operands vary from example to example; the paddings of a `Pad` may not, for example. So
this module follows the graph from its inputs, as `tf.vectorized_map` does.
"""

from typing import Any


def _types(text: str) -> frozenset[str]:
    return frozenset(text.split())


_STRUCTURE = _types("Const Identity IdentityN NoOp Placeholder PreventGradient ReadVariableOp StopGradient")
_SHAPES = _types("OnesLike Pack Shape ShapeN Size Unpack ZerosLike")
_ARITHMETIC = _types(
    "Abs AddN AddV2 Cast Ceil DivNoNan Exp Expm1 Floor FloorDiv FloorMod Log Log1p Maximum Minimum Mul Neg Pow RealDiv "
    "Reciprocal Rsqrt RsqrtGrad Sign Sqrt SqrtGrad Square SquaredDifference Sub Xdivy Xlogy"
)
_COMPARISON = _types(
    "Equal Greater GreaterEqual IsFinite Less LessEqual LogicalAnd LogicalNot LogicalOr NotEqual Select SelectV2"
)
_ACTIVATIONS = _types(
    "Elu EluGrad Erf Erfc LeakyRelu LeakyReluGrad LogSoftmax Relu Relu6 Relu6Grad ReluGrad Selu SeluGrad Sigmoid "
    "SigmoidGrad Softmax Softplus SoftplusGrad Softsign SoftsignGrad Tanh TanhGrad"
)
_LAYERS = _types("BatchMatMulV2 BiasAdd BiasAddGrad MatMul MaxPool MaxPoolGrad")
_LOSSES = _types("SoftmaxCrossEntropyWithLogits SparseSoftmaxCrossEntropyWithLogits")

_FIXED = _types("BroadcastGradientArgs ConcatOffset DynamicStitch InvertPermutation Range")
"""Computations of shapes: they have no conversion, and need none if all examples have the same shapes."""

_OPERANDS = {
    **dict.fromkeys(("All", "Any", "Max", "Mean", "Min", "Prod", "Sum"), "vs"),  # the axes
    **dict.fromkeys(("BroadcastTo", "ExpandDims", "Pad", "Reshape", "Tile", "Transpose"), "vs"),  # shapes, amounts
    **dict.fromkeys(("AvgPoolGrad", "Fill", "Split"), "sv"),
    **dict.fromkeys(("BatchToSpaceND", "Slice", "SpaceToBatchND"), "vss"),
    "AvgPool": "v",
    "ConcatV2": "s",
    "Conv2D": "vs",
    "Conv2DBackpropFilter": ".s.",
    "Conv2DBackpropInput": "ssv",
    "GatherV2": "..s",
    "OneHot": "vsss",
    "Squeeze": "v",
    "StridedSlice": "vsss",
    "StridedSliceGrad": "ssssv",
    "UnsortedSegmentSum": "..s",
}
"""The operands up to the last one: those that must vary from example to example (v), must not (s), or may (.)."""

ALLOWED = (
    _STRUCTURE | _SHAPES | _ARITHMETIC | _COMPARISON | _ACTIVATIONS | _LAYERS | _LOSSES | _FIXED | frozenset(_OPERANDS)
)
"""Types of operations that `tf.vectorized_map` converts correctly, as measured."""

_SAME_SHAPE = _types("OnesLike Shape ShapeN Size ZerosLike")
"""Operations whose output is the same for all examples, whatever their inputs are."""

_NARROW = ("float16", "bfloat16", "float8_e4m3fn", "float8_e5m2")


def obstacle(graph: Any) -> str | None:
    """Return why the graph of one example cannot be vectorized, or None.

    None does not cover a batch of one example: there, a `Squeeze` without axes also drops the axis of the examples, and
    Keras uses it to add vectors.
    """
    captured = {id(tensor) for tensor in graph.internal_captures}
    varying = {tensor.ref() for tensor in graph.inputs if id(tensor) not in captured}
    for operation in graph.get_operations():
        reason = _obstacle(operation, [tensor.ref() in varying for tensor in operation.inputs])
        if reason:
            return reason
        if operation.type not in _SAME_SHAPE and any(tensor.ref() in varying for tensor in operation.inputs):
            varying.update(tensor.ref() for tensor in operation.outputs)
    return None


def _obstacle(operation: Any, varies: list[bool]) -> str | None:
    """Return why one operation cannot be vectorized, or None; `varies` tells which operands vary with the example."""
    name = operation.type
    if name not in ALLOWED:
        return f"{name} is not known to be safe"
    for tensor in operation.outputs:
        if tensor.dtype.name in _NARROW:
            return f"{tensor.dtype.name} is not known to be exact"
    if not any(varies):
        return None
    pattern = "s" * len(varies) if name in _FIXED else _OPERANDS.get(name, "")
    for wanted, operand_varies in zip(reversed(pattern), reversed(varies), strict=False):
        if wanted == ("s" if operand_varies else "v"):
            return f"{name} is not known to be safe where its operands vary so from example to example"
    return _attribute_obstacle(operation, all(varies))


def _attribute_obstacle(operation: Any, all_vary: bool) -> str | None:
    """Return why an operation of these shapes and attributes cannot be vectorized, or None."""
    name = operation.type
    if name == "BatchMatMulV2" and not (all_vary and _same_batches(*operation.inputs)):
        return "BatchMatMulV2 is not known to be safe with unlike operands"
    if name in ("BiasAdd", "BiasAddGrad") and operation.get_attr("data_format") != b"NHWC":
        return f"{name} is not known to be safe with channels first"
    if name == "Conv2D" and operation.get_attr("padding") not in (b"SAME", b"VALID"):
        return "Conv2D is not known to be safe with explicit padding"
    return None


def _same_batches(left: Any, right: Any) -> bool:
    """Tell whether two operands need no broadcasting, in which TensorFlow's kernel may write out of bounds.

    `tf.matmul(tf.ones((64, 1, 5, 6)), tf.ones((6, 4)))` ends the process (TensorFlow 2.21, oneDNN).
    """
    batches = left.shape[:-2]
    return bool(batches.is_fully_defined() and batches == right.shape[:-2])
