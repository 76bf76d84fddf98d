"""Damaged and hostile `.onnx` files: one line each, before anything large is allocated and without waiting forever."""

import os
import time
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import tfdump
from support.light_runs import run_apart
from support.onnx_files import built, dense, graph
from tfdump.errors import ModelError, TfdumpError
from tfdump.model.onnx import session
from tfdump.model.onnx.wire import field_bytes

X = np.ones((2, 6), "f4")


def refused(path: Path, *options: object) -> str:
    """The one line with which the command refuses a file."""
    np.save(path.parent / "x.npy", X)
    done, _ = run_apart(("activations", path.name, "x.npy", "-o", "d.h5", *options), path.parent)
    assert done.returncode == 2, done.stderr
    assert not (path.parent / "d.h5").exists()
    assert done.stderr.startswith("Error: ")
    assert len(done.stderr.splitlines()) == 1, done.stderr
    return done.stderr


@pytest.mark.parametrize("part", [0.05, 0.3, 0.6, 0.9, 0.99])
def test_a_truncated_file(tmp_path: Path, part: float) -> None:
    whole = dense(tmp_path / "whole.onnx").read_bytes()
    (tmp_path / "cut.onnx").write_bytes(whole[: int(len(whole) * part)])
    assert "cut.onnx is not an ONNX model, or is damaged or truncated" in refused(tmp_path / "cut.onnx")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty (0 bytes)"),
        (b"\x08\x08", "it has no graph"),
        (b"hello world, this is text", "is not an ONNX model, or is damaged or truncated"),
        (b"\x0a" + b"\xff" * 20, "a number has more than 64 bits"),
        (b"\x3a\x00", "is an ONNX model without operations"),
    ],
)
def test_what_is_no_model(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "m.onnx").write_bytes(content)
    assert message in refused(tmp_path / "m.onnx")


def test_custom_operations_are_named(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Fancy", ["x"], ["a"], "a", domain="my.company"),
        helper.make_node("Other", ["a"], ["y"], "b", domain="my.company"),
    ]
    built(tmp_path / "m.onnx", graph(nodes, {"x": ["n", 6]}, ["y"]), **{"my.company": 1})
    assert refused(tmp_path / "m.onnx") == (
        "Error: m.onnx needs custom operations (my.company:Fancy, my.company:Other), which ONNX Runtime does not have "
        "and tfdump does not load (export the model with operations of the ONNX standard)"
    )


def test_an_operation_that_the_exporter_left_is_named(tmp_path: Path) -> None:
    node = helper.make_node("StatefulPartitionedCall", ["x"], ["y"], "call")
    built(tmp_path / "m.onnx", graph([node], {"x": ["n", 6]}, ["y"]))
    assert (
        "m.onnx needs the operation StatefulPartitionedCall, which ONNX Runtime does not have in opset 17"
        in refused(tmp_path / "m.onnx")
    )


def test_functions_of_the_file_are_no_custom_operations(tmp_path: Path) -> None:
    function = helper.make_function(
        "mine", "Twice", ["a"], ["b"], [helper.make_node("Add", ["a", "a"], ["b"])], [helper.make_opsetid("", 17)]
    )
    node = helper.make_node("Twice", ["x"], ["y"], "double", domain="mine")
    built(tmp_path / "m.onnx", graph([node], {"x": ["n", 6]}, ["y"]), mine=1, functions=[function])
    np.testing.assert_array_equal(tfdump.activations(tmp_path / "m.onnx", X)["double"], 2 * X)


def loop(steps: np.ndarray | None, shape: list[int] | None = None, grows: bool = False) -> onnx.GraphProto:
    """A graph with a loop of so many steps, or without an end, whose state may double in each step."""
    types = {"step": TensorProto.INT64, "more": TensorProto.BOOL, "again": TensorProto.BOOL}
    step = (
        helper.make_node("Concat", ["state", "state"], ["next"], axis=1)
        if grows
        else helper.make_node("Neg", ["state"], ["next"])
    )
    body = graph(
        [helper.make_node("Identity", ["more"], ["again"]), step],
        {"step": [], "more": [], "state": None}, ["again", "next"], types=types,
    )  # fmt: skip
    constants = {"yes": np.array(True)} | ({} if steps is None else {"steps": steps})
    nodes = [helper.make_node("Loop", ["" if steps is None else "steps", "yes", "x"], ["y"], "net/rnn/loop", body=body)]
    return graph(nodes, {"x": shape or ["n", 6]}, ["y"], constants)


def test_a_loop_of_too_many_steps_is_refused(tmp_path: Path) -> None:
    of = loop(np.array(1 << 62))
    of.node[0].input[1] = ""
    built(tmp_path / "m.onnx", of)
    assert "the loop 'net/rnn/loop' has 4,611,686,018,427,387,904 steps, which would take hours" in refused(
        tmp_path / "m.onnx"
    )


@pytest.mark.parametrize("steps", [None, np.array(1 << 62)])
def test_a_loop_without_end_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps: np.ndarray | None) -> None:
    monkeypatch.setattr(session, "LONGEST_RUN", 2.0)
    built(tmp_path / "m.onnx", loop(steps))
    start = time.monotonic()
    with pytest.raises(ModelError, match=r"a loop of .*m\.onnx does not end within 2 seconds"):
        tfdump.activations(tmp_path / "m.onnx", X)
    assert time.monotonic() - start < 60


def test_a_loop_that_doubles_its_memory_is_ended(tmp_path: Path) -> None:
    built(tmp_path / "m.onnx", loop(np.array(60), grows=True))
    assert "needs more memory than it may have (lower --batch-size, or allow more: --max-bytes)" in refused(
        tmp_path / "m.onnx", "--max-bytes", "64M"
    )


def fill(size: str) -> onnx.GraphProto:
    """A graph that fills a tensor: of a size in the file, or of one that the input decides."""
    if size == "declared":
        nodes = [helper.make_node("ConstantOfShape", ["size"], ["big"], "net/fill")]
        constants = {"size": np.array([1 << 20, 1 << 20])}
    else:
        nodes = [
            helper.make_node("ReduceSum", ["x"], ["sum"], keepdims=0),
            helper.make_node("Mul", ["sum", "many"], ["much"]),
            helper.make_node("Cast", ["much"], ["whole"], to=TensorProto.INT64),
            helper.make_node("Reshape", ["whole", "one"], ["size"]),
            helper.make_node("ConstantOfShape", ["size"], ["big"], "net/fill"),
        ]
        constants = {"many": np.array(1e9, "f4"), "one": np.array([1])}
    nodes += [
        helper.make_node("ReduceMax", ["big"], ["top"], keepdims=0), helper.make_node("Add", ["x", "top"], ["y"]),
    ]  # fmt: skip
    return graph(nodes, {"x": ["n", 6]}, ["y"], constants)


@pytest.mark.parametrize("size", ["declared", "computed"])
def test_a_tensor_that_is_too_large_is_refused(tmp_path: Path, size: str) -> None:
    built(tmp_path / "m.onnx", fill(size))
    assert "--max-bytes" in refused(tmp_path / "m.onnx", "--max-bytes", "100M")


def test_a_constant_of_a_huge_declared_shape_is_refused(tmp_path: Path) -> None:
    path = dense(tmp_path / "m.onnx")
    model = onnx.load(path)
    model.graph.initializer.append(TensorProto(name="big", data_type=TensorProto.FLOAT, dims=[1 << 20, 1 << 20]))
    path.write_bytes(model.SerializeToString())
    assert "the constants that m.onnx declares take 4.0 TiB" in refused(path)


def with_external(path: Path, **entries: str) -> Path:
    """The model with the numbers of one constant elsewhere."""
    dense(path)
    model = onnx.load(path)
    tensor = model.graph.initializer[0]
    (path.parent / "data.bin").write_bytes(tensor.raw_data)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in entries.items():
        tensor.external_data.add(key=key, value=value)
    path.write_bytes(model.SerializeToString())
    return path


def test_external_data_in_the_folder_of_the_model(tmp_path: Path) -> None:
    expected = tfdump.activations(dense(tmp_path / "whole.onnx"), X)
    (tmp_path / "sub").mkdir()
    path = with_external(tmp_path / "sub" / "m.onnx", location="data.bin", offset="0", length="96")
    values = tfdump.activations(path, X)  # the working directory is another one
    for address, tensor in expected.items():
        np.testing.assert_array_equal(values[address], tensor)


def test_external_data_counts_for_the_hash(tmp_path: Path) -> None:
    from tfdump.model.loading.load import load_model

    path = with_external(tmp_path / "m.onnx", location="data.bin")
    before = load_model(path).sha256
    (tmp_path / "data.bin").write_bytes(bytes(96))
    assert load_model(path).sha256 != before


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"location": "/etc/passwd"}, "which is not inside the folder of the model"),
        ({"location": "../data.bin"}, "which is not inside the folder of the model"),
        ({"location": "a/../../data.bin"}, "which is not inside the folder of the model"),
        ({"location": ""}, "which is not inside the folder of the model"),
        ({"location": "C:\\data.bin"}, "which is not inside the folder of the model"),
        ({"location": "missing.bin"}, "but there is no such file"),
        ({"location": "link.bin"}, "which is a link"),
        ({"location": "folder/data.bin"}, "which is a link"),
        ({"location": "data.bin", "offset": "90"}, "which is too short"),
        ({"location": "data.bin", "length": "97"}, "which is too short"),
        ({"location": "data.bin", "offset": "-4"}, "is damaged: the offset of the numbers"),
        ({"location": "data.bin", "length": "1e3"}, "is damaged: the length of the numbers"),
    ],
)
def test_external_data_elsewhere_is_refused(tmp_path: Path, entries: dict[str, str], message: str) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    path = with_external(folder / "m.onnx", **entries)
    (tmp_path / "data.bin").write_bytes(bytes(200))
    os.symlink(tmp_path / "data.bin", folder / "link.bin")
    os.symlink(tmp_path, folder / "folder")
    assert message in refused(path)


def test_two_graphs_are_read_as_onnx_runtime_reads_them(tmp_path: Path) -> None:
    """A field that occurs twice is merged, so checks of the first graph alone would be passed by."""
    path = dense(tmp_path / "m.onnx")
    second = graph([], {}, [])
    second.initializer.append(TensorProto(name="big", data_type=TensorProto.FLOAT, dims=[1 << 20, 1 << 20]))
    path.write_bytes(path.read_bytes() + field_bytes(7, second.SerializeToString()))
    assert "the constants that m.onnx declares take 4.0 TiB" in refused(path)


def test_a_name_that_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    path = dense(tmp_path / "m.onnx")
    path.write_bytes(path.read_bytes().replace(b"net/hidden/Relu", b"net/hidden/Re\xff\xfe"))
    assert "a name is not UTF-8" in refused(path)
    path.write_bytes(dense(path).read_bytes().replace(b"batch", b"bat\xff\xfe"))
    assert "ONNX Runtime cannot load m.onnx" in refused(path)  # the name of an axis, which only ONNX Runtime reads


def test_a_circle_is_refused(tmp_path: Path) -> None:
    nodes = [helper.make_node("Add", ["x", "b"], ["a"], "one"), helper.make_node("Neg", ["a"], ["b"], "two")]
    built(tmp_path / "m.onnx", graph(nodes, {"x": ["n", 6]}, ["b"]))
    assert "m.onnx is damaged: 'one' reads 'b' before it is computed" in refused(tmp_path / "m.onnx")


def test_a_tensor_that_is_computed_twice_is_refused(tmp_path: Path) -> None:
    nodes = [helper.make_node("Neg", ["x"], ["y"], "one"), helper.make_node("Abs", ["x"], ["y"], "two")]
    built(tmp_path / "m.onnx", graph(nodes, {"x": ["n", 6]}, ["y"]))
    assert "m.onnx is damaged: 'y' is computed twice" in refused(tmp_path / "m.onnx")


def test_graphs_that_are_too_deep_are_refused(tmp_path: Path) -> None:
    inner = b""
    for _ in range(40):  # the package `onnx` does not write so many
        attribute = field_bytes(1, b"then_branch") + field_bytes(6, inner)
        inner = field_bytes(1, field_bytes(4, b"If") + field_bytes(5, attribute))
    (tmp_path / "m.onnx").write_bytes(field_bytes(7, inner))
    assert "more than 32 graphs are inside each other" in refused(tmp_path / "m.onnx")


def test_an_input_of_another_kind(tmp_path: Path) -> None:
    sequence = helper.make_tensor_sequence_value_info("x", TensorProto.FLOAT, None)
    of = graph([helper.make_node("SequenceLength", ["x"], ["y"])], {}, ["y"], types={"y": TensorProto.INT64})
    of.input.append(sequence)
    built(tmp_path / "m.onnx", of)
    assert "the model takes 'x', a seq(tensor(float)), which tfdump cannot pass" in refused(tmp_path / "m.onnx")


def test_a_model_that_fails_on_the_input(tmp_path: Path) -> None:
    nodes = [helper.make_node("Reshape", ["x", "shape"], ["y"], "reshape")]
    built(tmp_path / "m.onnx", graph(nodes, {"x": ["n", 6]}, ["y"], {"shape": np.array([7, 7])}))
    line = refused(tmp_path / "m.onnx")
    assert line.startswith("Error: the model fails on this input: ")
    assert "onnxruntime_src" not in line


def mutate(data: bytearray, dice: np.random.Generator) -> None:
    """Change a byte, or remove or insert a few."""
    place, few = int(dice.integers(len(data))), int(dice.integers(1, 9))
    match dice.integers(3):
        case 0:
            data[place] = int(dice.integers(256))
        case 1:
            del data[place : place + few]
        case _:
            data[place:place] = dice.bytes(few)


@pytest.mark.parametrize("seed", range(3))
def test_mutated_files_end_in_a_result_or_an_error(tmp_path: Path, seed: int) -> None:
    dice = np.random.default_rng(seed)
    whole = dense(tmp_path / "whole.onnx").read_bytes()
    results = {"fine": 0, "refused": 0}
    for _ in range(60):
        data = bytearray(whole)
        for _ in range(int(dice.integers(1, 4))):
            mutate(data, dice)
        (tmp_path / "m.onnx").write_bytes(data)
        try:
            tfdump.activations(tmp_path / "m.onnx", X, max_bytes="200M")
            results["fine"] += 1
        except TfdumpError:
            results["refused"] += 1
    assert min(results.values()) > 0


def test_numpy_reads_what_the_reader_of_constants_reads() -> None:
    from tfdump.model.onnx.file import _tensor
    from tfdump.model.onnx.wire import merged

    for dtype in ("f4", "f8", "f2", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8"):
        values = np.array([[0, 1, 2], [3, 100, 5]], dtype) * (-1 if dtype[0] in "if" else 1)
        packed = numpy_helper.from_array(values.astype(dtype), "c")
        lists = helper.make_tensor("c", packed.data_type, values.shape, values.astype(dtype).ravel())
        for proto in (packed, lists):
            constant = _tensor(merged([memoryview(proto.SerializeToString())]))
            assert (constant.name, constant.shape, constant.bytes) == ("c", (2, 3), values.astype(dtype).nbytes)
            np.testing.assert_array_equal(constant.values, values.astype(dtype))
