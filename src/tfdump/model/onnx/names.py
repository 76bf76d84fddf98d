"""The names of the operations of an ONNX graph, as `tfdump.model.operations.scopes` reads them.

Exporters keep the scopes of the framework in the names of nodes. tf2onnx appends `__12` to the name of an operation
that it adds to another one (`conv1_1/BiasAdd__6`), and gives no scope to what it moves (`Transpose__46`). The quantizer
of ONNX Runtime names its nodes after tensors.
"""

import re
from collections.abc import Iterable, Mapping, Sequence

from tfdump.model.onnx.file import OnnxGraph, OnnxNode

_COUNTER = re.compile(r"__\d+$")
_INLINED = re.compile(r"^.*_frozen_\d+_")
"""What tf2onnx puts before the names of operations from a function that TensorFlow called."""

_FOLDED = re.compile(r"onnx::Conv\w*_\d+")
"""What torch calls the weights of a convolution into which it folded a batch normalization; others keep their names."""

QUANTIZING, DEQUANTIZING = "QuantizeLinear", "DequantizeLinear"

Scope = tuple[str, ...]


def operation_names(graph: OnnxGraph) -> list[str]:
    """Return the name of each operation: its scopes and its own name, joined by `/`.

    Of several nodes that one operation became, the last one has its name. Where the operation itself is gone, what was
    added to it loses the scope: it may stand far from the layer. A node without a scope belongs to the innermost scope
    that holds both what it reads and what reads it.
    """
    nodes = graph.nodes
    written = [_written(node) for node in nodes]
    made_by = {name: place for place, node in enumerate(nodes) for name in node.outputs if name}
    for place, node in enumerate(nodes):
        if node.kind in (QUANTIZING, DEQUANTIZING) and written[place].endswith(f"_{node.kind}"):
            written[place] = _beside(written, made_by.get(node.inputs[0]), node) or written[place]
    present = {name for name in written if not _COUNTER.search(name)}
    written = [
        name
        if not {base := _COUNTER.sub("", name), base.removesuffix(f"_{node.kind}")}.isdisjoint(present)
        else name.rpartition("/")[2]
        for name, node in zip(written, nodes, strict=True)
    ]
    bases = [_COUNTER.sub("", name) if "/" in name else name for name in written]
    last: Mapping[str, int] = {base: place for place, base in enumerate(bases)}
    names = []
    for place, (name, base) in enumerate(zip(written, bases, strict=True)):
        other = name if name != base else f"{base}__{nodes[place].kind}"
        names.append(base if last[base] == place else other)
    return _enclosed(names, graph, made_by)


def is_folded(node: OnnxNode) -> bool:
    """Tell whether what follows a convolution was folded into its weights, so that its tensor is not its output."""
    return node.kind in ("Conv", "ConvTranspose") and any(_FOLDED.fullmatch(name) for name in node.inputs[1:])


def _written(node: OnnxNode) -> str:
    """Return the name in the file: that of the node, else that of its first output.

    tf2onnx also replaces operations. The new node has a name with a number, and the output that of the operation.
    """
    output = next((output for output in node.outputs if output), node.kind).removesuffix(":0")
    replacing = _COUNTER.search(node.name) and "/" in output and not _COUNTER.search(output)
    name = output if replacing or not node.name else node.name
    return _INLINED.sub("", name).removesuffix(":0").strip("/")


def _beside(written: Sequence[str], place: int | None, node: OnnxNode) -> str:
    """Return the name of an operation that converts numbers: in the scope of the operation that computes them."""
    if place is None:
        return ""
    scope, slash, _ = written[place].rpartition("/")
    return f"{scope}{slash}{node.kind}" if slash else ""


def _enclosed(names: Sequence[str], graph: OnnxGraph, made_by: Mapping[str, int]) -> list[str]:
    """Return the names with the scopes that the dataflow tells added to those that tf2onnx gave none."""
    nodes = graph.nodes
    scopes = [None if "/" not in n and _COUNTER.search(n) else tuple(n.split("/")[:-1]) for n in names]
    reads = [[made_by[name] for name in (*node.inputs, *node.outer) if name in made_by] for node in nodes]
    readers: list[list[int]] = [[] for _ in nodes]
    for place, sources in enumerate(reads):
        for source in sources:
            readers[source].append(place)
    inputs, outputs = set(graph.inputs), set(graph.outputs)
    before: list[Scope | None] = []
    for place, node in enumerate(nodes):
        around = [before[read] if scopes[read] is None else scopes[read] for read in reads[place] if read < place]
        before.append(_common([*around, *(() for name in node.inputs if name in inputs)]))
    after: list[Scope | None] = [None] * len(nodes)
    for place in range(len(nodes) - 1, -1, -1):
        around = [after[reader] if scopes[reader] is None else scopes[reader] for reader in readers[place]]
        after[place] = _common([*around, *(() for name in nodes[place].outputs if name in outputs)])
    everywhere = _common(scopes) or ()
    enclosing = [_common(pair) or () for pair in zip(before, after, strict=True)]
    return [
        "/".join((*around, name)) if scope is None and len(around) > len(everywhere) else name
        for name, scope, around in zip(names, scopes, enclosing, strict=True)
    ]


def _common(scopes: Iterable[Scope | None]) -> Scope | None:
    """Return the innermost scope around several; None if there are none. What is None does not count."""
    known = [scope for scope in scopes if scope is not None]
    if not known:
        return None
    shortest = min(map(len, known))
    depth = next((n for n in range(shortest) if len({scope[n] for scope in known}) > 1), shortest)
    return known[0][:depth]
