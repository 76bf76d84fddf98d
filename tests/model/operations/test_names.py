"""Addresses from the names of operations: pure text, without TensorFlow."""

from dataclasses import replace

import pytest

from tfdump.model.operations.addresses import Addressed, addresses_of
from tfdump.model.operations.node_names import node_name
from tfdump.model.operations.owners import Nameable, OwnedTensors
from tfdump.model.operations.roles import OperationOutput, Role, roles_of
from tfdump.model.operations.scopes import Scopes, last_part, parts
from tfdump.tensors import NotCaptured

CALL = "StatefulPartitionedCall/"


def layers_of(names: list[str], wanted: str, known: frozenset[str] = frozenset()) -> list[tuple[str, int]]:
    return list(Scopes(names, known).place(wanted).layers)


def chain(*names: str, final: int = -1) -> list[Nameable]:
    """Tensors of which each is computed of the one before; the last one is the output."""
    last = len(names) - 1
    return [
        Nameable(
            name,
            (n - 1,) if n else (),
            frozenset({n + 1} if n < last else ()),
            final=n == final % len(names),
        )
        for n, name in enumerate(names)
    ]


def addresses(*names: str) -> list[str]:
    addressed, _ = addresses_of(OwnedTensors(chain(*names), Scopes(names)), Scopes(names))
    return [item.address for item in addressed]


def activated(tensors: list[Nameable], position: int) -> list[Nameable]:
    """The tensors, where an activation was fused into one."""
    return [replace(tensor, activated=n == position) for n, tensor in enumerate(tensors)]


def converted(tensors: list[Nameable], *names: str) -> tuple[list[Addressed], list[NotCaptured]]:
    return addresses_of(OwnedTensors(tensors, Scopes(names)), Scopes(names), converted=True)


# --- which layer


def test_the_root_and_the_counter_of_tracing_are_stripped() -> None:
    names = [CALL + "net_1/conv_1/convolution", CALL + "net_1/conv_1/BiasAdd", CALL + "net_1/pool_1/MaxPool2d"]
    assert layers_of(names, names[0]) == [("conv", 0)]
    assert layers_of(names, names[2]) == [("pool", 0)]


def test_a_further_call_is_the_next_odd_number() -> None:
    names = [f"net_1/encoder_{n}/conv_1/Relu" for n in (1, 3, 5)]
    assert [layers_of(names, name) for name in names] == [[("encoder", n), ("conv", 0)] for n in range(3)]


def test_a_layer_whose_name_ends_in_a_number_is_told_from_a_call() -> None:
    names = ["net_1/dense_1/MatMul", "net_1/dense_1_2/MatMul", "net_1/dense_2_1/MatMul", "net_1/dense_1_4/MatMul"]
    assert [layers_of(names, name) for name in names] == [
        [("dense", 0)],
        [("dense_1", 0)],
        [("dense_2", 0)],
        [("dense_1", 1)],
    ]


def test_a_name_that_a_numbered_layer_took_before() -> None:
    names = ["net_1/dense_1_1/MatMul", "net_1/dense_2/MatMul", "net_1/out_1/MatMul"]
    assert [layers_of(names, name) for name in names[:2]] == [[("dense_1", 0)], [("dense", 0)]]


def test_scopes_of_tensorflow_are_no_layers() -> None:
    names = [
        "net_1/bn_1/batchnorm/mul_1",
        "net_1/mha_1/einsum/Einsum",
        "net_1/mha_1/einsum_1/Einsum",
        "net_1/mha_1/query_1/Add",
    ]
    assert layers_of(names, names[0]) == [("bn", 0)]
    assert layers_of(names, names[2]) == [("mha", 0)]
    assert Scopes(names).place(names[2]).own == ("einsum_1", "Einsum")
    assert layers_of(names, names[3]) == [("mha", 0), ("query", 0)]


def test_keras_2_enters_a_scope_once() -> None:
    names = ["model/conv2d/Relu", "model/conv2d_1/Relu", "model/dense/Tensordot/MatMul"]
    assert layers_of(names, names[1]) == [("conv2d_1", 0)]
    assert layers_of(names, names[2]) == [("dense", 0)]


@pytest.mark.parametrize("layers", [("conv2d_3", "conv2d_4"), ("conv2d_1", "conv2d_2")])
def test_keras_2_after_other_models(layers: tuple[str, str]) -> None:
    names = [f"model_1/{layer}/Relu" for layer in layers]
    assert [layers_of(names, name) for name in names] == [[(layer, 0)] for layer in layers]


def test_the_weights_tell_keras_2_from_keras_3() -> None:
    names = ["model_1/dense_1/MatMul", "model_1/out_1/MatMul"]
    assert layers_of(names, names[0], frozenset({"dense", "out"})) == [("dense", 0)]
    assert layers_of(names, names[0], frozenset({"dense_1", "out_1"})) == [("dense_1", 0)]


def test_keras_2_calls_a_shared_layer_again() -> None:
    names = ["model/dense/MatMul", "model/dense_1/MatMul", "model/out/MatMul"]
    assert layers_of(names, names[1], frozenset({"dense", "out"})) == [("dense", 1)]
    assert layers_of(names, names[1], frozenset({"dense", "dense_1"})) == [("dense_1", 0)]


def test_operations_outside_of_every_scope_have_no_layer() -> None:
    place = Scopes(["Relu", "mul"]).place(CALL + "Relu")
    assert (place.layers, place.own) == ((), ("Relu",))


def test_a_name_that_was_lost_has_nothing_of_its_own() -> None:
    scopes = Scopes(["net_1/a_1/MatMul", "net_1/b_1/MatMul"])
    for name in ("StatefulPartitionedCall_1:0", "StatefulPartitionedCall:01", "Identity_1"):
        assert scopes.place(name).own == ()


# --- fused names


def test_the_parts_of_a_fused_name() -> None:
    assert parts("a/Relu;a/convolution") == ["a/Relu", "a/convolution"]
    assert parts("a/GatherV2;") == ["a/GatherV2"]


@pytest.mark.parametrize(
    ("name", "last"),
    [
        ("c1/Relu;c1/convolution", "c1/Relu"),
        ("n/d1/MatMul;n/drelu/Relu;n/dbn/batchnorm/mul_1", "n/drelu/Relu"),
        ("n/d4/MatMul;n/r4/Relu6", "n/r4/Relu6"),
        ("n/c/convolution;n/bn/batchnorm/add_1", "n/bn/batchnorm/add_1"),
        ("n/act/Relu;n/plus/Add", "n/act/Relu"),
        ("n/d/MatMul;n/d/BiasAdd", "n/d/MatMul"),
    ],
)
def test_the_operation_that_is_computed_last(name: str, last: str) -> None:
    assert last_part(name) == last


# --- addresses


def test_the_last_operation_of_a_layer_is_its_output() -> None:
    got = addresses("n_1/c_1/convolution", "n_1/c_1/BiasAdd", "n_1/d_1/MatMul", "n_1/d_1/Relu")
    assert got == ["c:op.convolution", "c", "d:op.MatMul", "d"]


def test_an_operation_of_the_model_is_a_node() -> None:
    assert addresses("n_1/c_1/Relu", "n_1/Sub", "n_1/Abs", "n_1/d_1/Relu") == ["c", "subtract", "absolute", "d"]
    assert node_name(("Add_2",)) == "add_2"
    assert node_name(("XlaCallModule",)) == "XlaCallModule"


def test_the_output_of_a_composite_is_that_of_the_layer_in_it() -> None:
    got = addresses("n_1/block_1/a_1/MatMul", "n_1/block_1/b_1/MatMul", "n_1/out_1/MatMul")
    assert got == ["block.a", "block.b", "block", "out"]


def test_what_is_read_outside_is_the_output_and_not_what_comes_last() -> None:
    names = ["n_1/a_1/Relu", "n_1/a_1/Sum", "n_1/b_1/MatMul"]
    tensors = [
        Nameable(names[0], (), frozenset({1, 2})),
        Nameable(names[1], (0,), frozenset()),
        Nameable(names[2], (0,), frozenset(), final=True),
    ]
    addressed, _ = addresses_of(OwnedTensors(tensors, Scopes(names)), Scopes(names))
    assert [item.address for item in addressed] == ["a", "a:op.Sum", "b"]


def test_a_layer_that_was_fused_away_is_named() -> None:
    names = ("n_1/r_1/Relu;n_1/b_1/batchnorm/add_1;n_1/c_1/convolution", "n_1/out_1/MatMul")
    addressed, missing = converted(activated(chain(*names), 0), *names)
    assert [item.address for item in addressed] == ["r", "out"]
    assert {item.address: item.reason for item in missing} == {"b": "fused into r", "c": "fused into r"}


def test_the_constant_of_an_operation_is_no_layer() -> None:
    names = ("truediv;truediv/y", "Tanh", "PartitionedCall:0")
    addressed, missing = converted(chain(*names), *names)
    assert [item.address for item in addressed][:1] == ["true_divide"]
    assert not missing


def test_half_of_a_layer_is_not_taken_for_its_output() -> None:
    names = ("n_1/sep_1/separable_conv2d/depthwise", "n_1/r_1/Relu;n_1/sep_1/separable_conv2d", "n_1/o_1/MatMul")
    addressed, missing = converted(activated(chain(*names), 1), *names)
    assert [item.address for item in addressed] == ["sep:op.separable_conv2d.depthwise", "r", "o"]
    assert [item.address for item in missing] == ["sep"]


def test_an_operation_without_a_name_makes_the_layer_before_it_uncertain() -> None:
    names = ("n_1/a_1/MatMul", "n_1/logits_1/MatMul", "StatefulPartitionedCall_1:0")
    addressed, missing = converted(chain(*names), *names)
    assert [item.address for item in addressed] == ["a", "logits:op.MatMul", "StatefulPartitionedCall_1:0"]
    assert [item.address for item in missing] == ["logits"]


def test_one_address_is_given_once() -> None:
    got = addresses("n_1/a_1/Relu", "n_1/a_1/Relu", "n_1/a_1/Relu", "n_1/o_1/Relu")
    assert len(set(got)) == 4
    assert "a" in got


# --- which tensors


def tensor(kind: str, *reads: int, **options: bool) -> OperationOutput:
    return OperationOutput(kind, kind, reads, **options)


def test_constants_weights_and_shapes_are_left_out() -> None:
    graph = [
        tensor("Placeholder", is_input=True),
        tensor("Const"),
        tensor("Shape", 0),
        tensor("Pack", 2, 1),
        tensor("Reshape", 0, 3),
        tensor("Mul", 1, 1),
        tensor("AddV2", 4, 5),
        tensor("Identity", 6, copies=True),
    ]
    assert roles_of(graph, [6]) == [
        Role.INPUT,
        Role.READ,
        Role.CONSTANT,
        Role.CONSTANT,
        Role.DATA,
        Role.CONSTANT,
        Role.DATA,
        Role.COPY,
    ]


def test_what_serves_only_a_shape_is_left_out() -> None:
    graph = [tensor("Placeholder", is_input=True), tensor("MatMul", 0), tensor("ZerosLike", 1), tensor("AddV2", 0, 2)]
    assert roles_of(graph, [3])[1] is Role.UNUSED


def test_what_nothing_reads_is_kept_unless_it_is_idle() -> None:
    graph = [tensor("Placeholder", is_input=True), tensor("MatMul", 0), tensor("Relu", 0)]
    assert roles_of(graph, [2])[1] is Role.DATA
    assert roles_of(graph, [2], frozenset({1}))[1] is Role.UNUSED


def test_random_numbers_are_data() -> None:
    assert roles_of([tensor("Const"), tensor("RandomUniform", 0)], [1])[1] is Role.DATA
