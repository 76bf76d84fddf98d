"""The outputs of layers among the tensors of a graph of plain operations.

A layer has an output here only if it is certain. Where names and dataflow leave a doubt, the layer is reported with the
reason. In a graph as it was traced, the output is the tensor that other operations read, a value rather than a mask.
A converter rewrites the graph: it fuses operations, moves them, forgets the names of the last ones, and folds constants
into weights. There, the output is the tensor that no other operation of the layer follows, unless evidence is against
it.
"""

from dataclasses import dataclass

from tfdump.model.operations.fused_order import ACTIVATIONS, SHAPING, folded_before, is_product, last_owner
from tfdump.model.operations.moved_transpositions import moved_operations
from tfdump.model.operations.node_names import is_node
from tfdump.model.operations.owners import NamePart, OwnedTensors, Owner
from tfdump.model.operations.recurrent_outputs import handed_on, outputs_of_recurrent_layers

_LOOPS = frozenset({"WHILE", "STABLEHLO_WHILE"})
_ALONG_TIME = _LOOPS | {"UNPACK", "REVERSE_V2"}
"""Operations that begin a recurrent layer after the converter has dropped the transposition that puts time first."""

_UNREAD = "nothing reads what it computes: it may hand on what it was given, and that only serves a loss, for example"
_SEVERAL = "it gives several tensors, and the graph does not tell which is which"
_UNKNOWN = "its last operation may be the one behind it, whose layer is not told ({})"
_CONVOLUTIONS = frozenset({"CONV_2D", "CONV_3D"})
_CLOSING = frozenset({"BiasAdd", "Selu", "Softmax", "Softplus"}) | ACTIVATIONS
_CHOOSING = frozenset(
    {"MaxPool", "MaxPool2d", "AvgPool", "AvgPool2d", "Mean", "Max", "Reshape", "transpose", "concat", "Pad"}
)
"""Operations that end a layer of Keras unless another one of it follows; those of the second set select elements."""


@dataclass(frozen=True)
class LayerOutputs:
    """The positions of the outputs by owner, and the reasons why other owners have none.

    `several` are those of owners with several outputs, by their numbers.
    """

    positions: dict[Owner, int]
    missing: dict[Owner, str]
    several: dict[Owner, dict[int, int]]


def layer_outputs(graph: OwnedTensors, converted: bool) -> LayerOutputs:
    """Return the outputs of all owners in a graph; `converted` tells that a converter has rewritten the graph."""
    finder = _Converted(graph) if converted else _Traced(graph)
    positions: dict[Owner, int] = {}
    missing: dict[Owner, str] = {}
    several = {} if converted else outputs_of_recurrent_layers(graph)
    for owner in graph.members:
        if owner in several:
            continue
        output = finder.output(owner)
        if isinstance(output, int):
            positions[owner] = output
        elif output:
            missing[owner] = output
    if converted:
        for position, tensor in enumerate(graph.tensors):
            owners = [part.owner for name in tensor.constants for part in graph.parts_of(name)]
            for owner in dict.fromkeys(around for innermost in owners for around in innermost.around()):
                if owner not in graph.members and (not owner.node or is_node(owner.node)):
                    missing.setdefault(owner, _fused(graph, position))
    return LayerOutputs(positions, missing, several)


class _Traced:
    """A graph as it was traced: every operation has its name."""

    def __init__(self, graph: OwnedTensors) -> None:
        self._graph = graph

    def output(self, owner: Owner) -> int | str:
        """Return the position of the output of an owner, or why there is none ("" where no reason is needed)."""
        tensors = self._graph.tensors
        shown = [position for position in self._graph.members[owner] if tensors[position].shown]
        data = [position for position in shown if tensors[position].data]
        read = handed_on(self._graph, owner)
        if not read and owner.node:
            read = ([position for position in data if not tensors[position].readers] or data)[-1:]
        elif not read:
            return _UNREAD if data else ""
        read = [position for position in read if not tensors[position].boolean] or read
        if len(read) == 1:
            return read[0]
        return _SEVERAL if read and not owner.node else ""


class _Converted:
    """A graph that a converter has rewritten."""

    def __init__(self, graph: OwnedTensors) -> None:
        self._graph = graph
        self._last = [last_owner(graph, position) for position in range(len(graph.tensors))]
        self._moved = moved_operations(graph)
        self._untold = {
            position: graph.sources(position)
            for position, tensor in enumerate(graph.tensors)
            if tensor.data and not tensor.represents and not graph.parts[position]
        }

    def output(self, owner: Owner) -> int | str:
        """Return the position of the output of an owner, or why there is none."""
        ends = self._ends(owner)
        if not ends:
            return "only shapes and constants bear its name"
        position = ends[0]
        if not any(owner.holds(self._last[end]) for end in ends):
            return _fused(self._graph, position, self._last[position])
        untold = self._untold_reader(owner)
        if untold or len(ends) > 1:
            return untold or _SEVERAL
        return self._doubt(owner, position) or position

    def _ends(self, owner: Owner) -> list[int]:
        """Return the tensors of an owner that no other tensor of it follows."""
        graph, tensors = self._graph, self._graph.tensors
        members = [position for position in graph.members[owner] if tensors[position].shown]
        data = [position for position in members if tensors[position].data]
        data = data or [position for position in members if tensors[position].floating]
        ends = [p for p in data if not any(graph.follows(later, p) for later in data if later > p)]
        ended = [position for position in ends if owner.holds(self._last[position])]
        ends = [p for p in ends if p in ended or not any(self._again(owner, p, other) for other in ended)]
        ends = [position for position in ends if not tensors[position].boolean] or ends
        return [p for p in ends if tensors[p].final or tensors[p].readers] or ends

    def _again(self, owner: Owner, position: int, other: int) -> bool:
        """Tell whether an operation is a second version of the one at `other`, with something fused into it."""
        graph = self._graph
        one, two = graph.tensors[position], graph.tensors[other]

        def own(number: int) -> set[NamePart]:
            return {part for part in graph.parts[number] if owner.holds(part.owner)}

        def data(number: int) -> list[int]:
            return [read for read in graph.tensors[number].reads if graph.tensors[read].data]

        return one.kind == two.kind and data(position) == data(other) and own(position) == own(other)

    def _untold_reader(self, owner: Owner) -> str:
        """Return a reason if an operation without a name, which reads tensors of an owner, may belong to the owner.

        An operation that reads the outputs of two calls of one layer alike is in neither. A product belongs to the
        layer in the name of its weights. The name of a single operation of the model itself is reliable.
        """
        graph = self._graph
        named = [part for member in graph.members[owner] for part in graph.parts[member]]
        if owner.node and len(named) == 1 and len(named[0].place.own) == 1:
            return ""
        for reader, sources in self._untold.items():
            products = [part.owner for part in graph.parts_of(graph.tensors[reader].weights or "") if is_product(part)]
            if products and not any(owner.holds(product) for product in products):
                continue
            owners = [next((o for o in graph.owners(s) if owner.holds(o)), None) for s in sources]
            if any(owners) and not self._reads_another_call(owner, sources):
                return _UNKNOWN.format(graph.tensors[reader].name)
        return ""

    def _reads_another_call(self, owner: Owner, sources: list[int]) -> bool:
        members = self._graph.members
        names = [name for name, _ in owner.layers]
        for other in members:
            if owner.node or other == owner or [name for name, _ in other.layers] != names:
                continue
            theirs = [source for source in sources if source in members[other]]
            mine = [source for source in sources if source in members[owner]]
            if len(theirs) == len(mine) == 1 and theirs != mine and len(members[other]) == len(members[owner]):
                return True
        return False

    def _doubt(self, owner: Owner, position: int) -> str:
        """Return the reason against a tensor as the output of an owner, "" without one."""
        graph, tensor = self._graph, self._graph.tensors[position]
        if position in self._moved:
            return "a transposition may have been moved across its last operation"
        if tensor.kind in _LOOPS or (tensor.kind == "PACK" and any(self._along_time(r) for r in tensor.readers)):
            return "what its loop gives may have the time before the examples, since the converter drops transpositions"
        mentioned = [part.owner for name in (tensor.weights, tensor.bias) if name for part in graph.parts_of(name)]
        strange = next((other for other in mentioned if other not in graph.owners(position)), None)
        if strange is not None:
            return f"its weights are called as those of {strange.address}"
        if self._may_be_scaled(position):
            return "a normalization behind it may be folded into its weights, which have no bias of their own"
        if any(self._reshaped_by(owner, position, reader) for reader in graph.behind(position)):
            return "its last reshaping may be merged into the operation behind it"
        return next(filter(None, (self._folded_into(owner, position, r) for r in graph.behind(position))), "")

    def _may_be_scaled(self, position: int) -> bool:
        """Tell whether a product with a constant may have vanished into the weights of a convolution.

        TensorFlow folds it before the conversion, and the weights keep their name. If the layer has a bias, the product
        is behind it and leaves its own name. An activation that was fused is the last operation, and has its name.
        """
        tensor, parts = self._graph.tensors[position], self._graph.parts[position]
        if tensor.kind not in _CONVOLUTIONS or tensor.activated or len(self._graph.owners(position)) != 1:
            return False
        return all(is_product(part) or part.leaf in SHAPING for part in parts)

    def _reshaped_by(self, owner: Owner, position: int, reader: int) -> bool:
        """Tell whether a last reshaping of the owner may be merged into an operation that reads the tensor.

        A dense layer of Keras keeps the number of axes, and a reshaping that is not merged has its own tensor.
        """
        tensor, behind = self._graph.tensors[position], self._graph.tensors[reader]
        if tensor.kind == "RESHAPE" or behind.kind not in ("RESHAPE", "FULLY_CONNECTED"):
            return False
        if behind.kind == "FULLY_CONNECTED" and behind.rank != tensor.rank:
            return True
        if len(behind.reads) > 1:  # the shape is known only at run time, so nothing is merged into it
            return False
        return any(part.leaf in SHAPING for part in self._graph.parts[position] if owner.holds(part.owner))

    def _along_time(self, reader: int) -> bool:
        return self._graph.tensors[reader].kind in _ALONG_TIME

    def _folded_into(self, owner: Owner, position: int, reader: int) -> str:
        """Return a reason if the end of an owner may be folded into the constants of an operation that reads it."""
        graph, tensor = self._graph, self._graph.tensors[reader]
        constant_parts = [part for name in tensor.constants for part in graph.parts_of(name)]
        if any(owner.holds(part.owner) for part in constant_parts):
            return _fused(graph, reader, self._last[reader])
        if tensor.weights is None:
            return ""
        folded = folded_before(graph, tensor)
        if folded is None and self._closed(owner, position, reader):
            return ""
        products = {part.owner for part in [*constant_parts, *graph.parts[reader]] if is_product(part)}
        others = [part.owner for part in [*constant_parts, *graph.parts[reader]] if part.owner not in products]
        explained = bool(folded and others) and (bool(graph.parts[reader]) or self._closed(owner, position, reader))
        if folded is False or explained:
            return ""
        return f"its last operation may be folded into the weights behind it ({tensor.name})"

    def _closed(self, owner: Owner, position: int, reader: int) -> bool:
        """Tell whether a tensor ends as a layer of Keras does, so that no operation of the layer can follow it.

        A function of single elements may be followed by a hidden product with a constant if the weights behind it have
        no name (unless they are quantized), or if there is no bias. Behind the product and bias of a dense or
        convolutional layer of Keras, such a function is the activation.
        """
        graph = self._graph
        if any(owner.holds(other) for other in graph.members if other != owner):
            return False
        own = [part for member in graph.members[owner] for part in graph.parts[member] if part.owner == owner]
        leaves = {part.leaf for part in own}
        behind = graph.tensors[reader]
        unseen = behind.floating and (not behind.weights or (behind.kind == "FULLY_CONNECTED" and behind.bias is None))
        unseen = unseen and not ("BiasAdd" in leaves and any(map(is_product, own)))
        last = {part.leaf for part in graph.parts[position] if part.owner == owner}
        if any("batchnorm" in part.place.own for part in own) or last & _CHOOSING:
            return True
        half = {"Relu6", "add"} <= leaves  # of a hard sigmoid, which ends with a division
        if half or unseen:
            return False
        return bool(last & _CLOSING) or ("Sigmoid" in leaves and last == {"mul"})


def _fused(graph: OwnedTensors, position: int, last: Owner | None = None) -> str:
    owners = graph.owners(position)
    if last is None and len(owners) > 1:
        return f"what was fused into {graph.tensors[position].name} is in no order that is told"
    return f"fused into {last.address if last else owners[0].address if owners else graph.tensors[position].name}"
