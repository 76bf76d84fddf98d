"""The graph of a run: tensors in the layers that contain them, and what reads what."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from tfdump.address import decode, reserved_word, split
from tfdump.comparison.verdict import DIFFERS
from tfdump.dump import layout
from tfdump.report.records import Row

_INPUT = f"{layout.INPUTS}/"
_OUTPUT = f"{layout.OUTPUTS}/"
_DEEPEST = 50
"""How many segments of an address count as layers; no model nests deeper, but a file may."""

TENSOR, LAYER, RUN, ABSENT, INPUT = "tensor", "layer", "run", "absent", "input"
"""The kinds of boxes.

A layer contains its tensors and its sublayers. A run contains boxes that follow each other in the order of execution,
where there are too many for one view. What the page does not hold is absent, or an input of the model.
"""


@dataclass(eq=False)
class Box:
    """One box of the graph: a tensor, or a layer or a run that contains others, in the order of execution.

    `address` is that of the tensor or of the layer. `row` is its tensor in the list, where the page holds it.
    """

    kind: str
    name: str
    address: str
    row: Row | None = None
    boxes: "list[Box]" = field(default_factory=list)

    def tensors(self) -> "Iterator[Box]":
        """Yield the boxes below, and this one, that contain no others."""
        waiting = [self]  # a loop, because a file may nest deeper than Python can call
        while waiting:
            box = waiting.pop()
            if not box.boxes:
                yield box
            waiting += reversed(box.boxes)


@dataclass(frozen=True)
class Graph:
    """The boxes at the top, and what is read: pairs of tensors, of which the second reads the first.

    `starts` has the numbers of the rows that differ although nothing that they read does. `left_out` are tensors of
    which the dump does not say what they read.
    """

    boxes: tuple[Box, ...]
    edges: tuple[tuple[Box, Box], ...]
    starts: frozenset[int]
    left_out: tuple[str, ...]


def graph_of(rows: Sequence[Row]) -> Graph | None:
    """Return the graph of a report's tensors; None where the dump does not say what they read."""
    forward = [row for row in rows if row.group == layout.ACTIVATIONS]
    if not any(row.reads for row in forward):
        return None
    inputs = [row for row in rows if row.group == layout.INPUTS]
    addresses = {row.address for row in forward}
    outputs = [row for row in rows if row.group == layout.OUTPUTS]
    joined = [row for row in outputs if row.reads is not None or row.address in addresses]
    held = {_key(row): row for row in (*inputs, *forward, *joined)}
    layers = _layers(row.address for row in forward)
    reads = _reads(held, layers)
    tensors = {key: _tensor(key, held.get(key), layers) for key in _in_order(held, reads)}
    return Graph(
        tuple(_nested(tensors, layers)),
        tuple((tensors[one], tensors[key]) for key in held for one in reads.get(key) or ()),
        frozenset(row.number for key, row in held.items() if _starts(row, reads[key], held)),
        tuple(row.name for row in outputs if _key(row) not in held),
    )


def _key(row: Row) -> str:
    """Return the name by which the attribute `inputs` calls a tensor; outputs, which nothing reads, have their own."""
    return row.address if row.group == layout.ACTIVATIONS else row.name


def _layers(addresses: Iterable[str]) -> set[str]:
    """Return the layers that contain more than their own outputs: sublayers, operations, states and so on."""
    layers: set[str] = set()
    for address in addresses:
        layer = split(address)[0]
        layers.update(_around(layer), [layer] if reserved_word(address) else [])
    return layers


def _reads(held: dict[str, Row], layers: set[str]) -> dict[str, tuple[str, ...] | None]:
    """Return what each tensor reads; None where it is unknown.

    The `inputs` of a layer with sublayers are what the layer read, and its sublayers are between. So its outputs read
    the tensors inside that nothing else inside reads, and those inputs that nothing inside reads.
    """
    reads: dict[str, tuple[str, ...] | None] = {}
    inside: dict[str, list[str]] = {layer: [] for layer in layers}
    read_inside: dict[str, set[str]] = {layer: set() for layer in layers}
    for key, row in held.items():
        layer = split(key)[0]
        listed = _listed(key, row)
        is_output = layer in layers and not reserved_word(key) and row.operands is None
        if is_output and inside[layer]:
            ends = [one for one in inside[layer] if one not in read_inside[layer]]
            listed = (*ends, *(one for one in listed or () if one not in read_inside[layer]))
        reads[key] = None if listed is None else tuple(dict.fromkeys(one for one in listed if one != key))
        around = [name for name in _around(layer) if name in layers]
        for name in around if is_output or layer not in layers else [layer, *around]:
            inside[name].append(key)
            read_inside[name].update(reads[key] or ())
    return reads


def _around(layer: str) -> Iterator[str]:
    """Yield the layers that contain a layer, the nearest first."""
    segments = layer.split(".")
    for count in range(min(len(segments) - 1, _DEEPEST), 0, -1):
        yield ".".join(segments[:count])


def _listed(key: str, row: Row) -> tuple[str, ...] | None:
    """Return what the dump says that a tensor reads; an input of the model reads nothing."""
    if row.reads is None and row.group != layout.ACTIVATIONS:
        return (row.address,) if key.startswith(_OUTPUT) else ()
    return row.reads


def _in_order(held: dict[str, Row], reads: dict[str, tuple[str, ...] | None]) -> Iterator[str]:
    """Yield the tensors in the order of execution; what the page does not hold comes before its first reader.

    Inputs of the model come first.
    """
    listed = dict.fromkeys(one for key in held for one in reads[key] or ())
    inputs = [key for key in (*listed, *held) if key.startswith(_INPUT)]
    yield from dict.fromkeys(inputs)
    passed = set(inputs)
    for key in held:
        for one in (*(reads[key] or ()), key):
            if one not in passed and (one == key or one not in held):
                passed.add(one)
                yield one


def _starts(row: Row, reads: tuple[str, ...] | None, held: dict[str, Row]) -> bool:
    """Tell whether a tensor differs although all that it reads agrees, or is an input that the dump does not hold."""
    if row.diff is None or row.diff.status != DIFFERS or reads is None or row.group == layout.OUTPUTS:
        return False
    sources = [held.get(one) for one in reads if one in held or not one.startswith(_INPUT)]
    return all(one is not None and one.diff is not None and not one.diff.fails for one in sources)


def _tensor(key: str, row: Row | None, layers: set[str]) -> Box:
    """Return the box of a tensor, with its name inside of the box of its layer."""
    if "/" in key:
        return Box(INPUT if row is None and key.startswith(_INPUT) else TENSOR if row else ABSENT,
                   _shown(key), key, row)  # fmt: skip
    layer, suffix = split(key)
    last = "" if layer in layers and reserved_word(key) else layer.rpartition(".")[2]
    return Box(ABSENT if row is None else TENSOR, _shown(last + (f":{suffix}" if suffix else "")), key, row)


def _shown(name: str) -> str:
    """Return a segment as people wrote it; whatever does not decode stays."""
    try:
        return decode(name) if "%" in name else name
    except UnicodeDecodeError:
        return name


def _nested(tensors: dict[str, Box], layers: set[str]) -> list[Box]:
    """Return the boxes at the top, with all tensors in the layers that contain them."""
    top: list[Box] = []
    by_layer = {layer: Box(LAYER, _shown(layer.rpartition(".")[2]), layer) for layer in layers}
    nested: set[str] = set()
    for key, box in tensors.items():
        layer = "" if "/" in key else split(key)[0]
        inner = box
        for name in (layer, *_around(layer)):
            if name not in layers:
                continue
            by_layer[name].boxes.append(inner)
            inner = by_layer[name]
            if name in nested:
                break
            nested.add(name)
        else:
            top.append(inner)
    return top


def numbers_of_rows(graph: Graph) -> dict[str, int]:
    """Return the numbers of the rows in the graph by what the attribute `inputs` calls them."""
    tensors = (tensor for box in graph.boxes for tensor in box.tensors())
    return {tensor.address: tensor.row.number for tensor in tensors if tensor.row is not None}
