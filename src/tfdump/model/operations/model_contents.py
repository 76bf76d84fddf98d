"""The addresses of the tensors of a converted file, by a Keras model that computes the same (`--like`).

The model tells which operation gives the output of a layer. A tensor of the file is that output if it contains the
operation, and nothing that the model computes behind it. What a tensor contains is told by its name, by the weights of
a matrix product or convolution, and by the operations and outputs that the dataflow leads to.
"""

from collections.abc import Callable, Mapping

from tfdump.model.operations.addresses import Addressed, Claim, addressed
from tfdump.model.operations.fused_order import ACTIVATIONS, FLOW, SHAPING, WEIGHTS, is_product
from tfdump.model.operations.moved_transpositions import moved_operations
from tfdump.model.operations.outputs import layer_outputs
from tfdump.model.operations.owners import OwnedTensors, Owner
from tfdump.model.operations.reference import ACTING, PASSING, PRODUCTS, KerasOutput, Reference, words_of
from tfdump.model.operations.same_kinds import same_kind
from tfdump.model.operations.scopes import Scopes
from tfdump.model.operations.weight_matching import FileProduct, last_folded, same_weights
from tfdump.tensors import NotCaptured

Finals = tuple[tuple[str, int], ...]
"""The outputs of a file by name, with their positions among its tensors."""

_NO_TENSOR = "no tensor of the file is known to be its output"


class ModelContents:
    """What the tensors of a graph contain of a Keras model.

    `contents` are the operations of the model in each tensor, as bits. `shapes` are those of the tensors, and `product`
    returns the weights of a product by its position.
    """

    def __init__(
        self,
        graph: OwnedTensors,
        reference: Reference,
        shapes: list[tuple[int, ...]],
        product: Callable[[int], FileProduct | None],
    ) -> None:
        self._graph = graph
        self._reference = reference
        self._shapes = shapes
        self._product = product
        self._told_by: dict[tuple[int, int], str] = {}
        self._unlike: set[int] = set()
        self.contents = [self._named(position) for position in range(len(graph.tensors))]

    def learn(self, finals: Finals) -> None:
        """Add to the contents what weights and dataflow tell, and the layers of the final outputs."""
        for operation, position in self._outputs_of_model(finals):
            self._add(position, operation, FLOW)
        for position, tensor in enumerate(self._graph.tensors):
            if tensor.weights is not None:
                self._learn_from_weights(position)
        for position in range(len(self.contents)):
            self._learn_from_flow(position)

    def claims(self, known: Mapping[str, int]) -> dict[int, list[Claim]]:
        """Return the outputs of layers by the positions of their tensors.

        `known` are the outputs that the file alone tells, by their addresses in the order of execution. They count
        where no tensor contains the operation that gives the output.
        """
        moved, earlier, later = moved_operations(self._graph), self._contents_before(), self._contents_behind()
        claims: dict[int, list[Claim]] = {}
        for output in self._reference.outputs:
            operation = output.operation
            inside = any(bits >> operation & 1 for bits in self.contents)
            position = self._position_of(output) if inside else known.get(output.executed_as)
            if position is None or position in moved or not _agree(output.shape, self._shapes[position]):
                continue
            exchanged = earlier[position] & self._reference.behind(operation)
            exchanged |= later[position] & self._reference.before(operation)
            owner = self._owner_of(output, position)
            if owner is not None and not exchanged:
                told_by = self._told_by.get((position, operation), "")
                if not told_by and len(self._graph.owners(position)) > 1:
                    told_by = FLOW
                claims.setdefault(position, []).append(Claim(output.address, output.layer, owner, told_by))
        return claims

    def _contents_before(self) -> list[int]:
        """Return what each tensor and those that it is computed from contain."""
        before: list[int] = []
        for position, tensor in enumerate(self._graph.tensors):
            bits = self.contents[position]
            for read in tensor.reads:
                bits |= before[read]
            before.append(bits)
        return before

    def _contents_behind(self) -> list[int]:
        """Return what the tensors contain that are computed from each one."""
        behind = [0] * len(self.contents)
        for position in range(len(self.contents) - 1, -1, -1):
            for read in self._graph.tensors[position].reads:
                behind[read] |= behind[position] | self.contents[position]
        return behind

    def _named(self, position: int) -> int:
        bits = 0
        for part in self._graph.parts[position]:
            operation = self._reference.by_name.get(words_of(part))
            bits |= 0 if operation is None else 1 << operation
        return bits

    def _add(self, position: int, operation: int, told_by: str) -> bool:
        """Let a tensor contain an operation; return whether it did not before."""
        if self.contents[position] >> operation & 1:
            return False
        self.contents[position] |= 1 << operation
        self._told_by[position, operation] = told_by
        self._graph.add(position, self._reference.operations[operation].part)
        return True

    def _last(self, position: int) -> int | None:
        """Return the operation of a tensor that all others in it come before; None where it is unknown."""
        bits = self.contents[position]
        if not bits or position in self._unlike:
            return None
        last = max(number for number in range(bits.bit_length()) if bits >> number & 1)
        return last if self._reference.within(bits, last) else None

    def _outputs_of_model(self, finals: Finals) -> list[tuple[int, int]]:
        """Pair the final outputs of the model with tensors of the file: by name, by number, or because each has one."""
        operations = dict(self._reference.finals)
        positions = dict(finals)
        numbered = {f"output_{number}": operation for number, (_, operation) in enumerate(self._reference.finals)}
        if len(operations) != len(positions):
            return []
        by_name = next((names for names in (operations, numbered) if set(names) == set(positions)), None)
        if by_name is None:
            by_name = dict(zip(positions, operations.values(), strict=True)) if len(positions) == 1 else {}
        pairs = [(operation, self._represented(positions[name])) for name, operation in by_name.items()]
        return [(operation, position) for operation, position in pairs if not self.contents[position]]

    def _represented(self, position: int) -> int:
        """Return the tensor that a tensor only represents in another dtype, or itself."""
        tensor = self._graph.tensors[position]
        return self._represented(tensor.reads[0]) if tensor.represents and tensor.reads else position

    def _learn_from_weights(self, position: int) -> None:
        product = self._product(position)
        if product is None:
            return
        matches = [
            (operation, kernel)
            for operation in self._possible_products(position)
            if (kernel := same_weights(product, self._reference, operation)) is not None
        ]
        last = None
        if len(matches) == 1:
            last = last_folded(product, matches[0][1], self._reference, matches[0][0])
        if last is not None:
            self._add(position, matches[0][0], WEIGHTS)
            self._add(position, last.operation, WEIGHTS)
            self._learn_activation(position)
            self._learn_source(position, matches[0][0])
        elif all(is_product(part) or part.leaf in SHAPING for part in self._graph.parts[position]):
            self._unlike.add(position)  # a product with a constant may have vanished into the weights

    def _possible_products(self, position: int) -> list[int]:
        """Return the products of the model that a tensor may be: those in its name, or else all that may follow."""
        reference, bits = self._reference, self.contents[position]
        products = [number for number, operation in enumerate(reference.operations) if operation.kind in PRODUCTS]
        named = [number for number in products if bits >> number & 1]
        if bits:
            return named
        before = [self._last(p) for p in range(position) if self._graph.follows(position, p)]
        return [n for n in products if all(last is None or reference.depends(n, last) for last in before)]

    def _learn_activation(self, position: int) -> None:
        """Add the fused activation of a product where its name does not tell it."""
        last = self._last(position)
        if last is None or not self._graph.tensors[position].activated or self._acts(position):
            return
        acting = [n for n in self._reference.readers[last] if self._reference.operations[n].kind in ACTING]
        if len(acting) == 1 and len(self._reference.readers[last]) == 1:
            self._add(position, acting[0], FLOW)

    def _acts(self, position: int) -> bool:
        bits, operations = self.contents[position], self._reference.operations
        return any(
            bits >> number & 1 and (operation.kind in ACTING or operation.part.leaf in ACTIVATIONS)
            for number, operation in enumerate(operations)
        )

    def _learn_source(self, position: int, product: int) -> None:
        """Add to the tensor that a product reads what the product of the model reads, if nothing is known of it."""
        sources = [s for s in self._graph.sources(position) if self._graph.tensors[s].data]
        reads = self._reference.operations[product].reads
        if len(sources) != 1 or len(reads) != 1 or self.contents[sources[0]]:
            return
        read: int | None = reads[0]
        while read is not None and not self._fits(sources[0], read):
            before = self._reference.operations[read]
            read = before.reads[0] if before.kind in PASSING and len(before.reads) == 1 else None
        if read is not None:
            self._add(sources[0], read, FLOW)

    def _fits(self, position: int, operation: int) -> bool:
        kinds = [self._graph.tensors[position].kind, self._reference.operations[operation].kind]
        return ("RESHAPE" in kinds) == (kinds[1] == "Reshape")

    def _learn_from_flow(self, position: int) -> None:
        """Add to a tensor without content the only operation of its kind that reads what it reads."""
        tensor, reference = self._graph.tensors[position], self._reference
        if self.contents[position] or not tensor.data or tensor.represents:
            return
        sources = [source for source in self._graph.sources(position) if self._graph.tensors[source].data]
        lasts = [self._last(source) for source in sources]
        if not lasts or None in lasts or tensor.activated:
            return
        readers = [number for number in reference.readers[lasts[0] or 0] if self._reads(number, lasts)]
        alike = [number for number in readers if same_kind(tensor.kind, reference.operations[number].kind)]
        if len(alike) == 1:
            self._add(position, alike[0], FLOW)

    def _reads(self, number: int, lasts: list[int | None]) -> bool:
        return list(self._reference.operations[number].reads) == lasts

    def _position_of(self, output: KerasOutput) -> int | None:
        """Return the tensor that is an output of the model, None where it is not certain.

        One operation of the model may have become several, of which the last may be fused into the next layer.
        """
        graph, reference, operation = self._graph, self._reference, output.operation
        positions = [
            position
            for position, bits in enumerate(self.contents)
            if bits >> operation & 1 and not graph.tensors[position].represents
        ]
        ends = [
            position
            for position in positions
            if reference.within(self.contents[position], operation)
            and not any(graph.follows(later, position) for later in positions)
        ]
        if len(ends) != 1 or ends[0] in self._unlike:
            return None
        end = ends[0]
        kind, leaf = reference.operations[operation].kind, reference.operations[operation].part.leaf
        if graph.tensors[end].activated and kind not in ACTING and leaf not in ACTIVATIONS:
            return None
        return end if graph.tensors[end].shown else None

    def _owner_of(self, output: KerasOutput, position: int) -> Owner | None:
        """Return the owner among those of a tensor that an output belongs to."""
        layer = output.executed_as.partition(":")[0]
        parts = self._graph.parts[position]
        return next((o for part in parts for o in part.owner.around() if o.address == layer), None)


def addresses_like(
    graph: OwnedTensors, scopes: Scopes, contained: ModelContents, reference: Reference, finals: Finals
) -> tuple[list[Addressed], list[NotCaptured]]:
    """Return the addresses of the tensors of a graph in order, and the layers of the model that have none."""
    known = {owner.address: position for owner, position in layer_outputs(graph, converted=True).positions.items()}
    contained.learn(finals)
    claims = contained.claims(known)
    nodes = {claim.owner.node for those in claims.values() for claim in those if claim.owner.node}
    by_operation: dict[int, str] = {}
    for position, those in claims.items():
        for number in range(contained.contents[position].bit_length()):
            if contained.contents[position] >> number & 1:
                by_operation.setdefault(number, f"fused into {those[0].address}")
    missing = {output.address: by_operation.get(output.operation, _NO_TENSOR) for output in reference.outputs}
    return addressed(graph, scopes, claims, nodes, missing)


def _agree(declared: tuple[int, ...] | None, shape: tuple[int, ...]) -> bool:
    """Tell whether two shapes can be that of one tensor; the size of the first axis is that of the batch."""
    if declared is None:
        return True
    return len(declared) == len(shape) and all(
        one == two or -1 in (one, two) for one, two in zip(declared[1:], shape[1:], strict=True)
    )
