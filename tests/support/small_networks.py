"""Small networks in NumPy, what may go wrong when one is ported, and how formats show their tensors.

A network is a dict of steps in the order of execution: name -> (operation, names of what it reads, parameters). A name
that is no step is an input.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from support.made_dumps import Tensor

Step = tuple[Callable[..., Any], list[str], dict[str, Any]]
Network = dict[str, Step]
Values = dict[str, np.ndarray]
Fault = tuple[str, str, Network]
RANDOM = np.random.default_rng(21)


def conv(x: Any, kernel: Any, bias: Any, pad: tuple[int, int] = (1, 1), ceiling: float = np.inf) -> Any:
    """A convolution of 3 x 3 that keeps the size."""
    padded = np.pad(x, ((0, 0), pad, pad, (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))
    return np.clip(np.einsum("nhwcij,ijcd->nhwd", windows, kernel) + bias, -ceiling, ceiling)


def norm(x: Any, gamma: Any, beta: Any, mean: Any, variance: Any, epsilon: float = 1e-3) -> Any:
    return (x - mean) / np.sqrt(variance + epsilon) * gamma + beta


def layer_norm(x: Any, gamma: Any, beta: Any, epsilon: float = 1e-3) -> Any:
    centered = x - x.mean(-1, keepdims=True)
    return centered / np.sqrt((centered**2).mean(-1, keepdims=True) + epsilon) * gamma + beta


def relu(x: Any, slope: float = 0.0, ceiling: float = np.inf) -> Any:
    return np.minimum(np.where(x > 0, x, slope * x), ceiling)


def add(x: Any, y: Any) -> Any:
    return x + y


def pool(x: Any, how: Any = np.max) -> Any:
    n, h, w, c = x.shape
    return how(x.reshape(n, h // 2, 2, w // 2, 2, c), axis=(2, 4))


def flatten(x: Any, order: tuple[int, ...] = (0, 1, 2, 3)) -> Any:
    return np.transpose(x, order).reshape(len(x), -1)


def dense(x: Any, kernel: Any, bias: Any = 0.0) -> Any:
    return x @ kernel + bias


def identity(x: Any) -> Any:
    return x


def dropped(x: Any) -> Any:
    return x * (np.arange(x.shape[-1]) % 2) * 2


def tanh(x: Any) -> Any:
    return np.tanh(x)


def sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def concat(*parts: Any) -> Any:
    return np.concatenate(parts, -1)


def softmax(x: Any, axis: int = -1) -> Any:
    powers = np.exp(x - x.max(axis, keepdims=True))
    return powers / powers.sum(axis, keepdims=True)


def lstm(x: Any, kernel: Any, recurrent: Any, bias: Any, order: str = "ifco", start: float = 0.0,
         backward: bool = False) -> Any:  # fmt: skip
    """The hidden states of all steps."""
    n, steps, _ = x.shape
    hidden = state = np.full((n, recurrent.shape[0]), start)
    outputs = []
    for step in reversed(range(steps)) if backward else range(steps):
        parts = np.split(x[:, step] @ kernel + hidden @ recurrent + bias, 4, -1)
        gates = dict(zip(order, parts, strict=True))
        state = sigmoid(gates["f"]) * state + sigmoid(gates["i"]) * np.tanh(gates["c"])
        hidden = sigmoid(gates["o"]) * np.tanh(state)
        outputs.append(hidden)
    return np.stack(outputs, 1)


def last(x: Any, place: int = -1) -> Any:
    return x[:, place]


def scores(q: Any, k: Any, scale: bool = True, causal: bool = True) -> Any:
    products = np.einsum("nqd,nkd->nqk", q, k) / (np.sqrt(q.shape[-1]) if scale else 1)
    mask = np.tril(np.ones(products.shape[-2:], bool))
    return np.where(mask, products, -1e9) if causal else products


def weighted(weights: Any, v: Any) -> Any:
    return np.einsum("nqk,nkd->nqd", weights, v)


def normal(*shape: int) -> Any:
    return RANDOM.standard_normal(shape)


def _bn(width: int) -> dict[str, Any]:
    return {"gamma": 1 + normal(width) / 4, "beta": normal(width) / 2, "mean": normal(width) / 2,
            "variance": RANDOM.uniform(0.5, 2, width)}  # fmt: skip


def _dense(wide: int, width: int) -> dict[str, Any]:
    return {"kernel": normal(wide, width) / np.sqrt(wide), "bias": normal(width) / 2}


CNN: Network = {
    "conv1": (conv, ["x"], {"kernel": normal(3, 3, 3, 6) / 4, "bias": normal(6) / 4}),
    "bn1": (norm, ["conv1"], _bn(6)),
    "relu1": (relu, ["bn1"], {}),
    "conv2": (conv, ["relu1"], {"kernel": normal(3, 3, 6, 6) / 6, "bias": normal(6) / 4}),
    "bn2": (norm, ["conv2"], _bn(6)),
    "add": (add, ["bn2", "relu1"], {}),
    "relu2": (relu, ["add"], {}),
    "pool": (pool, ["relu2"], {}),
    "flatten": (flatten, ["pool"], {}),
    "hidden": (dense, ["flatten"], _dense(96, 12)),
    "relu3": (relu, ["hidden"], {}),
    "dropout": (identity, ["relu3"], {}),
    "logits": (dense, ["dropout"], _dense(12, 10)),
    "predictions": (softmax, ["logits"], {}),
}
BRANCHES: Network = {
    "left": (dense, ["x"], _dense(8, 8)),
    "left_tanh": (tanh, ["left"], {}),
    "right": (dense, ["x"], _dense(8, 8)),
    "right_tanh": (tanh, ["right"], {}),
    "concat": (concat, ["left_tanh", "right_tanh"], {}),
    "head": (dense, ["concat"], _dense(16, 8)),
    "probabilities": (softmax, ["head"], {}),
}
RECURRENT: Network = {
    "embed": (dense, ["x"], _dense(5, 6)),
    "lstm": (lstm, ["embed"], {"kernel": normal(6, 28), "recurrent": normal(7, 28) / 3, "bias": normal(28)}),
    "last": (last, ["lstm"], {}),
    "top": (dense, ["last"], _dense(7, 4)),
}
ATTENTION: Network = {
    "ln1": (layer_norm, ["x"], {"gamma": 1 + normal(8) / 4, "beta": normal(8) / 4}),
    "query": (dense, ["ln1"], _dense(8, 8)),
    "key": (dense, ["ln1"], _dense(8, 8)),
    "value": (dense, ["ln1"], _dense(8, 8)),
    "scores": (scores, ["query", "key"], {}),
    "weights": (softmax, ["scores"], {}),
    "context": (weighted, ["weights", "value"], {}),
    "project": (dense, ["context"], _dense(8, 8)),
    "residual": (add, ["project", "x"], {}),
    "ln2": (layer_norm, ["residual"], {"gamma": 1 + normal(8) / 4, "beta": normal(8) / 4}),
}
NETWORKS = {"cnn": CNN, "branches": BRANCHES, "recurrent": RECURRENT, "attention": ATTENTION}
INPUTS = {"cnn": normal(12, 8, 8, 3) + 0.5, "branches": normal(12, 8), "recurrent": normal(12, 6, 5),
          "attention": normal(12, 8, 8)}  # fmt: skip
FUSED = {"cnn": ["conv1", "bn1", "conv2", "add", "hidden", "dropout"], "branches": ["left", "right"],
         "recurrent": [], "attention": []}  # fmt: skip
"""The steps that a converter fuses into those that read them; of `conv2`, the batch normalization stays."""


def run(network: Network, x: Any) -> Values:
    """The value of every step."""
    values = {"x": np.asarray(x)}
    for name, (operation, reads, parameters) in network.items():
        values[name] = operation(*(values[read] for read in reads), **parameters)
    return {name: value for name, value in values.items() if name != "x"}


def altered(
    network: Network, name: str, operation: Any = None, reads: list[str] | None = None, **changes: Any
) -> Network:
    """The network with one step changed."""
    old, old_reads, parameters = network[name]
    same = parameters if operation is None else {}
    return {**network, name: (operation or old, reads or old_reads, same | changes)}


def changed(kind: str, name: str, operation: Any = None, reads: list[str] | None = None, **changes: Any) -> Fault:
    """The fault of one step."""
    return kind, name, altered(NETWORKS[kind], name, operation, reads, **changes)


def parameter(network: Network, name: str, key: str) -> Any:
    return network[name][2][key]


def _noisy(network: Network, name: str, key: str, size: float) -> Network:
    old = parameter(network, name, key)
    return altered(
        network, name, **{key: old + size * np.std(old) * np.random.default_rng(3).standard_normal(old.shape)}
    )


def _swapped_branches() -> Network:
    new = dict(BRANCHES)
    new["left"], new["right"] = BRANCHES["right"], BRANCHES["left"]
    return new


_KERNEL, _LEFT = parameter(CNN, "conv2", "kernel"), parameter(BRANCHES, "left", "kernel")
_BACK = {key: value[..., ::-1] for key, value in CNN["logits"][2].items()}
_BIAS = parameter(RECURRENT, "lstm", "bias") * np.repeat([1, 0, 1, 1], 7)
FAULTS: dict[str, Fault] = {
    "noise in a kernel": ("cnn", "conv1", _noisy(CNN, "conv1", "kernel", 0.01)),
    "noise in a deep kernel": ("cnn", "logits", _noisy(CNN, "logits", "kernel", 0.003)),
    "kernel in float16": changed("cnn", "conv2", kernel=_KERNEL.astype("f2")),
    "padding on one side": changed("cnn", "conv1", pad=(2, 0)),
    "deep padding on one side": changed("cnn", "conv2", pad=(0, 2)),
    "saturation": changed("cnn", "conv2", ceiling=0.8),
    "kernel turned": changed("cnn", "conv2", kernel=_KERNEL.transpose(1, 0, 2, 3)),
    "another kernel": changed("cnn", "conv2", kernel=normal(3, 3, 6, 6) / 6),
    "epsilon": changed("cnn", "bn1", epsilon=1e-2),
    "deep epsilon": changed("cnn", "bn2", epsilon=1e-5),
    "batch statistics": changed("cnn", "bn2", mean=np.zeros(6), variance=np.ones(6)),
    "missing activation": changed("cnn", "relu1", identity),
    "missing deep activation": changed("cnn", "relu3", identity),
    "leaky activation": changed("cnn", "relu1", slope=0.01),
    "clipped activation": changed("cnn", "relu2", ceiling=1.0),
    "missing skip": changed("cnn", "add", identity, ["bn2"]),
    "skip from elsewhere": changed("cnn", "add", reads=["bn2", "bn1"]),
    "another pooling": changed("cnn", "pool", how=np.mean),
    "flatten order": changed("cnn", "flatten", order=(0, 3, 1, 2)),
    "missing bias": changed("cnn", "hidden", bias=0.0),
    "dropout left on": changed("cnn", "dropout", dropped),
    "classes in another order": changed("cnn", "logits", **_BACK),
    "softmax over the examples": changed("cnn", "predictions", axis=0),
    "swapped branches": ("branches", "left_tanh right_tanh", _swapped_branches()),
    "concatenated in another order": changed("branches", "concat", reads=["right_tanh", "left_tanh"]),
    "one branch twice": changed("branches", "concat", reads=["left_tanh", "left_tanh"]),
    "another activation": changed("branches", "right_tanh", sigmoid),
    "square kernel turned": changed("branches", "left", kernel=_LEFT.T),
    "gate order": changed("recurrent", "lstm", order="icfo"),
    "missing forget bias": changed("recurrent", "lstm", bias=_BIAS),
    "initial state": changed("recurrent", "lstm", start=0.1),
    "backward": changed("recurrent", "lstm", backward=True),
    "first step for the last": changed("recurrent", "last", place=0),
    "no scale": changed("attention", "scores", scale=False),
    "no mask": changed("attention", "scores", causal=False),
    "query and key exchanged": changed("attention", "scores", reads=["key", "query"]),
    "softmax over another axis": changed("attention", "weights", axis=1),
    "epsilon of a layer norm": changed("attention", "ln1", epsilon=1e-1),
    "no residual": changed("attention", "residual", identity, ["project"]),
}  # fmt: skip
"""By name: the network, the steps that are wrong, and the network with the fault."""

INPUT_FAULTS = {
    "BGR": lambda x: x[..., ::-1],
    "shift by one": lambda x: np.roll(x, 1, axis=2),
    "scale of the input": lambda x: x / 2,
    "pictures on their side": lambda x: x.transpose(0, 2, 1, 3),
}
"""What may happen to the pictures before they reach the model."""


def keras_dump(network: Network, values: Values) -> dict[str, Any]:
    """The tensors as a dump of a Keras model has them."""
    return {
        name: Tensor(values[name].astype("f4"), inputs=json.dumps(_sources(reads)), structure=f"net.{name}",
                     **{"class": f"{operation.__name__.title()}Layer"})
        for name, (operation, reads, _) in network.items()
    }  # fmt: skip


def _sources(reads: list[str], names: Mapping[str, str] | None = None) -> list[str]:
    return ["inputs/x" if read == "x" else (names or {}).get(read, read) for read in reads]


def converted_dump(
    network: Network, values: Values, names: Mapping[str, str], gone: list[str], channels_first: bool = False
) -> dict[str, Any]:
    """The tensors as another format has them: renamed, without the fused ones, rounded in another way."""
    rounding = np.random.default_rng(5)
    tensors = {}
    for name, (operation, _, _) in network.items():
        if name in gone:
            continue
        value = values[name] * (1 + 1e-7 * rounding.standard_normal(values[name].shape))
        if channels_first and value.ndim == 4:
            value = value.transpose(0, 3, 1, 2)
        reads = _sources(_behind(network, name, gone), names)
        attributes = {"inputs": json.dumps(reads), "class": operation.__name__.upper()}
        tensors[names[name]] = Tensor(value.astype("f4"), **attributes)
    return tensors


def _behind(network: Network, name: str, gone: list[str]) -> list[str]:
    """The steps that a step reads, through those that are fused into it."""
    reads = []
    for read in network[name][1]:
        reads += _behind(network, read, gone) if read in gone else [read]
    return list(dict.fromkeys(reads))


def final(values: Values, name: str, there: bool) -> dict[str, Any]:
    """The output of a network, as dumps of whole models have it."""
    return {f"outputs/{name}": list(values.values())[-1].astype("f4")} if there else {}
