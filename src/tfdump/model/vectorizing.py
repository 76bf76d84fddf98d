"""Whether a graph may be given to `tf.vectorized_map`, decided from its operations before it is run.

Some conversions end the process (batched matrix products, hence EinsumDense and MultiHeadAttention), some raise, some
give wrong numbers (half precision, 3D pooling). Only operations that were measured to be right are on the list: in
more than 240 small models (every activation, dense and convolutional layers, pooling, normalisation, embeddings,
merging) and with the losses of Keras, at 2, 7 and 64 examples, against a loop over the examples.
"""

from typing import Any


def _types(text: str) -> frozenset[str]:
    return frozenset(text.split())


_STRUCTURE = _types("Const Identity IdentityN NoOp Placeholder PreventGradient ReadVariableOp StopGradient")
_SHAPES = _types(
    "BroadcastGradientArgs BroadcastTo ConcatOffset ConcatV2 ExpandDims Fill GatherV2 InvertPermutation OneHot "
    "OnesLike Pack Pad Range Reshape Shape ShapeN Size Slice Split Squeeze StridedSlice StridedSliceGrad Tile "
    "Transpose Unpack UnsortedSegmentSum ZerosLike"
)
_ARITHMETIC = _types(
    "Abs AddN AddV2 Cast Ceil DivNoNan Exp Expm1 Floor FloorDiv FloorMod Log Log1p Max Maximum Mean Min Minimum "
    "Mul Neg Pow Prod RealDiv Reciprocal Rsqrt RsqrtGrad Sign Sqrt SqrtGrad Square SquaredDifference Sub Sum "
    "Xdivy Xlogy"
)
_COMPARISON = _types(
    "All Any Equal Greater GreaterEqual IsFinite Less LessEqual LogicalAnd LogicalNot LogicalOr NotEqual Select "
    "SelectV2"
)
_ACTIVATIONS = _types(
    "Elu EluGrad Erfc LeakyRelu LeakyReluGrad LogSoftmax Relu Relu6 Relu6Grad ReluGrad Selu SeluGrad Sigmoid "
    "SigmoidGrad Softmax Softplus SoftplusGrad Softsign SoftsignGrad Tanh TanhGrad"
)
_LAYERS = _types(
    "AvgPool AvgPoolGrad BatchToSpaceND BiasAdd BiasAddGrad Conv2D Conv2DBackpropFilter "
    "Conv2DBackpropInput MatMul MaxPool MaxPoolGrad SpaceToBatchND"
)
_LOSSES = _types("SoftmaxCrossEntropyWithLogits SparseSoftmaxCrossEntropyWithLogits")

ALLOWED = _STRUCTURE | _SHAPES | _ARITHMETIC | _COMPARISON | _ACTIVATIONS | _LAYERS | _LOSSES
"""Types of operations that `tf.vectorized_map` was measured to convert rightly."""

_NARROW = ("float16", "bfloat16", "float8_e4m3fn", "float8_e5m2")


def obstacle(graph: Any) -> str | None:
    """Return why a graph is not vectorised, or None."""
    for operation in graph.get_operations():
        if operation.type not in ALLOWED:
            return f"{operation.type} is not known to be safe"
        for tensor in operation.outputs:
            if tensor.dtype.name in _NARROW:
                return f"{tensor.dtype.name} is not known to be exact"
    return None
