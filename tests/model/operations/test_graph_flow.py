"""What feeds what in graphs that are written down here: pure text, without TensorFlow."""

from collections.abc import Mapping

from tfdump.model.operations.addresses import addresses_of
from tfdump.model.operations.flow import GraphFlow, OperationGraph
from tfdump.model.operations.owners import Nameable, OwnedTensors
from tfdump.model.operations.roles import OperationOutput, Role, links_among, roles_of
from tfdump.model.operations.scopes import Scopes

X = ("x", "Placeholder", ())
Operation = tuple[str, str, tuple[int, ...]]
Lists = dict[str, tuple[str, ...] | None]


def lists(
    *operations: Operation, converted: bool = False, inputs: Mapping[int, str] | None = None
) -> tuple[Lists, Lists]:
    """The inputs and the operands by address, in a graph of operations with names, types and the places they read."""
    outputs = [OperationOutput(*operation, is_input=operation[1] == "Placeholder") for operation in operations]
    final = [len(outputs) - 1]
    roles = roles_of(outputs, final)
    positions = [place for place, role in enumerate(roles) if role in (Role.DATA, Role.CONSTANT)]
    tensors = [
        Nameable(
            outputs[p].name,
            *links,
            data=roles[p] is Role.DATA,
            final=p in final,
            kind=outputs[p].kind,
            represents=outputs[p].kind == "DEQUANTIZE",
            boolean=outputs[p].kind == "LOGICAL_AND",
        )
        for p, links in zip(positions, links_among(positions, outputs), strict=True)
    ]
    scopes = Scopes([output.name for output in outputs if not output.is_input])
    graph = OwnedTensors(tensors, scopes)
    addressed, _ = addresses_of(graph, scopes, converted)
    named = OperationGraph(outputs, positions, {0: "inputs/x"} if inputs is None else inputs)
    flow = GraphFlow(graph, named, addressed, converted)
    return {i.address: flow.inputs(i) for i in addressed}, {i.address: flow.operands(i) for i in addressed}


def test_layers_read_from_outside_and_operations_read_the_nearest_address() -> None:
    inputs, operands = lists(
        X,
        ("m_1/a_1/MatMul", "MatMul", (0,)),
        ("m_1/a_1/Add", "AddV2", (1,)),
        ("m_1/b_1/Mul", "Mul", (2, 2)),
        ("m_1/b_1/Add", "AddV2", (3, 0)),
    )
    assert inputs == {
        "a:op.MatMul": ("inputs/x",), "a": ("inputs/x",), "b:op.Mul": ("a",), "b": ("a", "inputs/x"),
    }  # fmt: skip
    assert operands == {
        "a:op.MatMul": None, "a": ("a:op.MatMul",), "b:op.Mul": None, "b": ("b:op.Mul", "inputs/x"),
    }  # fmt: skip


def test_constants_and_shapes_are_not_read() -> None:
    inputs, _ = lists(
        X,
        ("weight", "Const", ()),
        ("m_1/a_1/MatMul", "MatMul", (0, 1)),
        ("m_1/b_1/Shape", "Shape", (2,)),
        ("Shape", "Shape", (2,)),
        ("m_1/b_1/Fill", "Fill", (3, 1)),
        ("m_1/b_1/Reshape", "Reshape", (0, 4)),
        ("m_1/b_1/Add", "AddV2", (5, 6)),
        ("m_1/c_1/Add", "AddV2", (2, 7)),
    )
    assert inputs["a"] == inputs["b"] == inputs["b:op.Reshape"] == ("inputs/x",)
    assert inputs["c"] == ("a", "b")


def test_an_input_without_a_name_is_unknown() -> None:
    inputs, _ = lists(X, ("m_1/a_1/Relu", "Relu", (0,)), ("m_1/b_1/Mul", "Mul", (1,)), inputs={})
    assert inputs == {"a": None, "b": ("a",)}


def test_a_conversion_without_a_name_between_two_operations_of_a_layer_is_inside_of_it() -> None:
    inputs, operands = lists(
        X,
        ("m_1/a_1/Relu", "RELU", (0,)),
        ("m_1/b_1/Mean", "MEAN", (1,)),
        ("PartitionedCall:0", "DEQUANTIZE", (2,)),
        ("m_1/b_1/Mul", "MUL", (3,)),
        converted=True,
    )
    assert inputs["b"] == ("a",)
    assert operands["b"] == ("PartitionedCall:0",)
    assert inputs["PartitionedCall:0"] == ("b:op.Mean",)


def test_a_layer_of_which_another_layer_is_in_the_middle_says_nothing() -> None:
    """No call of a layer reads what another layer has computed from it: the names are wrong."""
    inputs, operands = lists(
        X,
        ("m_1/b_1/Mean", "MEAN", (0,)),
        ("m_1/a_1/Relu", "RELU", (1,)),
        ("m_1/b_1/Mul", "MUL", (2,)),
        converted=True,
    )
    assert inputs["b"] is None
    assert operands["b"] == ("a",)
    assert inputs["a"] == ("b:op.Mean",)


def test_what_a_converter_fused_behind_a_layer_is_not_read_by_it() -> None:
    """The mask of `b` is fused into `both`, which also reads that of `c`."""
    inputs, _ = lists(
        X,
        ("m_1/a_1/Relu", "RELU", (0,)),
        ("m_1/b_1/Mean", "MEAN", (1,)),
        ("m_1/b_1/Softmax", "SOFTMAX", (2,)),
        ("m_1/c_1/Tanh", "TANH", (0,)),
        ("m_1/both_1/LogicalAnd;m_1/b_1/Greater", "LOGICAL_AND", (2, 4)),
        ("m_1/d_1/Select", "SELECT", (5, 3)),
        converted=True,
    )
    assert inputs["b"] == ("a",)
    assert inputs["d"] == ("both", "b")
    assert inputs["both"] == ("b:op.Mean", "c")


def test_the_output_of_a_composite_is_known_by_its_name_only_outside() -> None:
    inputs, operands = lists(
        X,
        ("m_1/block_1/a_1/Relu", "Relu", (0,)),
        ("m_1/block_1/b_1/Tanh", "Tanh", (1,)),
        ("m_1/block_1/loss_1/Sum", "Sum", (2,)),
        ("m_1/out_1/Mul", "Mul", (2,)),
    )
    assert {address: read for address, read in inputs.items() if "loss" not in address} == {
        "block.a": ("inputs/x",),
        "block.b": ("block.a",),
        "block": ("inputs/x",),
        "out": ("block",),
    }
    assert {read for address, read in inputs.items() if "loss" in address} == {("block.b",)}
    assert operands["out"] == ("block",)
