"""Pairing by value: no false pair on networks that are the same, and every planted fault at its layer or next to it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tfdump
from support import small_networks as small
from support.made_dumps import Tensor, comparison_in, make_dump
from tfdump.comparison.values.samples import sample_values
from tfdump.comparison.verdict import DiffReport
from tfdump.errors import DumpError, TfdumpError

NOTHING_LEFT = ("padding on one side",)
"""Faults with which no array has the values of any tensor."""

FORMS = ("keras", "onnx", "lite", "arrays")


@pytest.fixture
def both(tmp_path: Path) -> Any:
    """Write two dumps and compare them."""
    return comparison_in(tmp_path)


def names_in(form: str, network: small.Network) -> dict[str, str]:
    """The names that a format has for the steps: of its own, or only for the last steps and the activations."""
    if form == "onnx":
        return {name: f"node_{number}" for number, name in enumerate(network)}
    forgotten = list(network)[-2:]
    return {name: f"StatefulPartitionedCall:{n}" if name in forgotten else name for n, name in enumerate(network)}


def compared(
    folder: Path, kind: str, form: str, new: small.Network, x: Any = None, outputs: bool = True, **options: Any
) -> DiffReport:
    """A network of one kind against a new one in another form."""
    network, inputs = small.NETWORKS[kind], small.INPUTS[kind]
    values, new_values = small.run(network, inputs), small.run(new, inputs if x is None else x)
    tensors = small.keras_dump(network, values) | small.final(values, "y", outputs and form != "arrays")
    golden = make_dump(folder / "g.h5", tensors, examples=12)
    if form == "keras":
        tensors = small.keras_dump(new, new_values) | small.final(new_values, "y", outputs)
        side: Any = make_dump(folder / "n.h5", tensors, examples=12)
    elif form == "arrays":
        side = {f"array{number}": value.astype("f4") for number, value in enumerate(new_values.values())}
    else:
        gone, names = small.FUSED[kind], names_in(form, network)
        tensors = small.converted_dump(new, new_values, names, gone, channels_first=form == "onnx")
        tensors |= small.final(new_values, "output_0", outputs)
        side = make_dump(folder / "n.h5", tensors, examples=12, model_class="ONNX" if form == "onnx" else "TFLite")
    return tfdump.diff(golden, side, **options)


def neighborhood(network: small.Network, places: str) -> set[str]:
    """The steps with a fault, what they read, and what reads them; a dropout is passed over."""
    steps = set(places.split())
    around = set(steps)
    for name, (_, reads, _) in network.items():
        if steps & set(reads):
            around.add(name)
        if name in steps:
            around |= set(reads)
    return around


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", small.NETWORKS)
def test_no_pair_is_false_where_nothing_differs(tmp_path: Path, kind: str, form: str) -> None:
    network = small.NETWORKS[kind]
    report = compared(tmp_path, kind, form, network)
    assert report.same, report.summary
    assert report.count("differs", "missing", "extra") == 0
    numbers = {name: f"array{number}" for number, name in enumerate(network)}
    names = numbers if form == "arrays" else {n: n for n in network} if form == "keras" else names_in(form, network)
    gone = small.FUSED[kind] if form in ("onnx", "lite") else []
    for tensor in report.tensors:
        if tensor.shown_name == "outputs/y":
            continue
        name, new = tensor.shown_name, (tensor.new_name or "").removeprefix("activations/")
        if name in gone:
            assert tensor.status == "fused" or (name, new) == ("dropout", names["relu3"])
        else:
            assert new in (names[name], names["relu3"] if name == "dropout" else "")
            turned = form == "onnx" and len(tensor.shape or ()) == 4
            assert tensor.layout == ("0,2,3,1" if turned else "")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("fault", small.FAULTS)
def test_a_planted_fault_is_found_at_its_layer_or_next_to_it(tmp_path: Path, fault: str, form: str) -> None:
    kind, places, new = small.FAULTS[fault]
    network = small.NETWORKS[kind]
    if form == "arrays" and fault in NOTHING_LEFT:
        with pytest.raises(DumpError, match="nothing to compare"):
            compared(tmp_path, kind, form, new)
        return
    report = compared(tmp_path, kind, form, new)
    around = neighborhood(network, places)
    for name in small.FUSED[kind] if form in ("onnx", "lite") else []:
        if name in around:  # what is fused shows in what reads it
            around |= neighborhood(network, name)
    assert not report.same
    assert report.first is not None
    assert report.first.shown_name in around, report.summary


@pytest.mark.parametrize("form", ["onnx", "lite"])
@pytest.mark.parametrize("fault", small.FAULTS)
def test_no_planted_fault_is_hidden_by_allowing_missing_tensors(tmp_path: Path, fault: str, form: str) -> None:
    """Also if nothing but the last layers differs, and no outputs were dumped."""
    kind, places, new = small.FAULTS[fault]
    for outputs in (True, False):
        try:
            report = compared(tmp_path, kind, form, new, outputs=outputs, allow_missing=True)
        except DumpError:  # nothing has the values of any tensor
            assert places.split()[0] in ("conv1", "lstm")
        else:
            assert not report.same, report.summary


@pytest.mark.parametrize("form", ["keras", "onnx", "lite"])
@pytest.mark.parametrize("fault", small.INPUT_FAULTS)
def test_wrong_pictures_show_in_the_first_layer(tmp_path: Path, fault: str, form: str) -> None:
    x = small.INPUT_FAULTS[fault](small.INPUTS["cnn"])
    report = compared(tmp_path, "cnn", form, small.CNN, x)
    assert not report.same
    assert report.first is not None
    assert report.first.shown_name in ("conv1", "bn1", "relu1")


def test_forty_faults_are_planted() -> None:
    assert len(small.FAULTS) + len(small.INPUT_FAULTS) >= 40


# What the values decide, and what names decide


A, B, C = (np.random.default_rng(seed).standard_normal((4, 5, 6)).astype("f4") for seed in range(3))
GRAPH = {"a": ["inputs/x"], "b": ["inputs/x"], "c": ["a", "b"]}


def tensors(values: dict[str, Any], graph: dict[str, list[str]] | None = None, **attributes: Any) -> dict[str, Any]:
    reads = {name: {"inputs": json.dumps(graph[name])} for name in values if graph and name in graph}
    return {name: Tensor(value, **reads.get(name, {}), **attributes) for name, value in values.items()}


def pairs(report: DiffReport) -> dict[str, tuple[str | None, str]]:
    """Golden names with the new ones, and how they were paired."""
    return {t.shown_name: (t.new_name and t.new_name.rpartition("/")[2], t.paired_by) for t in report.tensors if t.name}


LITE = ({}, {"model_class": "TFLite"})


def test_a_wrong_name_of_a_converted_file_gives_way_and_is_told(both: Any) -> None:
    """The tensor of `b` bears the name of `a`, and `a` was fused into what reads it."""
    golden = tensors({"a": A, "b": B, "c": C}, {"a": ["inputs/x"], "b": ["a"], "c": ["b"]})
    report = both(golden, {"a": B, "c": C}, LITE)
    assert report.same
    assert pairs(report) == {"a": (None, ""), "b": ("a", "exact value"), "c": ("c", "address")}
    assert [t.status for t in report.tensors] == ["fused", "same", "same"]
    assert any("wrong names" in note and "a is b" in note for note in report.notes)
    plain = both(golden, {"a": B, "c": C}, LITE, pair="names")
    assert not plain.same
    assert pairs(plain) == {"a": ("a", "address"), "b": (None, ""), "c": ("c", "address")}


def test_exchanged_names_give_way_only_if_what_reads_the_tensors_agrees(both: Any) -> None:
    golden = tensors({"a": A, "b": B, "c": C}, GRAPH)
    report = both(golden, {"a": B, "b": A, "c": C}, LITE)
    assert report.same
    assert pairs(report)["a"] == ("b", "exact value")
    report = both(golden, {"a": B, "b": A, "c": C * 2}, LITE)
    assert [t.status for t in report.tensors] == ["differs", "differs", "differs"]
    assert any("although the values are equal to those of others: a = b, b = a" in note for note in report.notes)


def test_names_of_two_keras_models_are_facts(both: Any) -> None:
    """Weights of two branches were exchanged, which their sum does not show."""
    golden = tensors({"a": A, "b": B, "c": C}, GRAPH, structure="net.x", **{"class": "Dense"})
    new = tensors({"a": B, "b": A, "c": C}, GRAPH, structure="net.x", **{"class": "Dense"})
    report = both(golden, new)
    assert [t.status for t in report.tensors] == ["differs", "differs", "same"]
    assert any("a = b, b = a" in note for note in report.notes)
    assert both(golden, new, renamed={"a": "b", "b": "a"}).same


def test_a_name_that_is_right_elsewhere_stays(both: Any) -> None:
    """The dropout is on: that what it should give exists under another name hides nothing."""
    golden = tensors({"act": A, "drop": A, "next": C}, {"act": ["inputs/x"], "drop": ["act"], "next": ["drop"]})
    report = both(golden, {"act": A, "drop": A * (B > 0), "copy": A, "next": C}, LITE)
    assert report.first is not None
    assert report.first.shown_name == "drop"


def test_outputs_are_an_interface_and_are_never_exchanged(both: Any) -> None:
    golden = {"a": A, "outputs/p": A, "outputs/q": B}
    report = both(golden, {"a": A, "outputs/p": B, "outputs/q": A}, LITE)
    assert [t.status for t in report.tensors] == ["same", "differs", "differs"]


def test_golden_tensors_of_equal_values_share_a_partner(both: Any) -> None:
    report = both({"act": A, "dropout": A, "next": C}, {"x1": A, "x2": C})
    assert pairs(report) == {"act": ("x1", "exact value"), "dropout": ("x1", "exact value"),
                             "next": ("x2", "exact value")}  # fmt: skip
    assert report.same


def test_equal_tensors_are_paired_in_order(both: Any) -> None:
    report = both({"one": A, "two": B, "three": A}, {"x": A, "y": B, "z": A})
    assert [new for new, _ in pairs(report).values()] == ["x", "y", "z"]


def test_a_constant_recognizes_nothing(both: Any) -> None:
    report = both({"same": A, "dead": A * 0, "ones": A * 0 + 1}, {"same": A, "x": A * 0, "y": A * 0 + 1})
    assert report.count("missing", "extra") == 4


@pytest.mark.parametrize(("noise", "status", "by"), [
    (1e-6, "same", "exact value"), (1e-3, "differs", "near value"), (0.1, "differs", "near value"),
    (0.4, "missing", ""),
])  # fmt: skip
def test_what_is_near_is_paired_and_differs(both: Any, noise: float, status: str, by: str) -> None:
    report = both({"a": A, "b": B}, {"a": A, "x": (B + noise * C).astype("f4")})
    tensor = report.tensors[1]
    assert (tensor.status, tensor.paired_by) == (status, by)
    assert not both({"a": A, "b": B}, {"a": A, "x": B + noise * C}, scale=1.0, allow_missing=True).count("differs")


@pytest.mark.parametrize(("dtype", "noise", "by"), [
    ("float16", 2e-3, "exact value"), ("float16", 0.05, "near value"), ("bfloat16", 8e-3, "exact value"),
    ("float32", 2e-3, "near value"), ("float64", 1e-12, "exact value"), ("float64", 1e-6, "near value"),
])  # fmt: skip
def test_what_counts_as_equal_depends_on_the_dtype(both: Any, dtype: str, noise: float, by: str) -> None:
    stored = "float32" if dtype == "bfloat16" else dtype
    attributes = {"dtype": dtype, "stored_as": stored}
    new = (B.astype(float) + noise * C).astype(stored)
    golden = Tensor(B.astype(stored), **attributes)
    report = both({"same": A, "b": golden}, {"same": A, "x": Tensor(new, **attributes)})
    assert report.tensors[1].paired_by == by


def test_integers_and_bools_must_be_equal(both: Any) -> None:
    ids = np.random.default_rng(0).integers(0, 99, (4, 7))
    golden = {"same": A, "ids": ids, "mask": ids > 50}
    report = both(golden, {"same": A, "x": ids, "y": ids > 50})
    assert report.same
    report = both(golden, {"same": A, "x": ids + (ids == ids[0, 0]), "y": ids > 49})
    assert report.count("missing") >= 1


def test_values_that_are_not_finite_must_be_at_the_same_places(both: Any) -> None:
    odd = A.copy()
    odd[0, 0, :3] = np.nan, np.inf, 1
    assert both({"same": B, "a": odd}, {"same": B, "x": odd}).same
    moved = odd.copy()
    moved[0, 0, 0], moved[0, 0, 4] = 1, np.nan
    assert both({"same": B, "a": odd}, {"same": B, "x": moved}).count("missing") == 1


@pytest.mark.parametrize(("shape", "turn", "layout"), [
    ((4, 5, 6), (0, 2, 1), "0,2,1"), ((4, 2, 5, 3), (0, 3, 1, 2), "0,2,3,1"), ((4, 1, 1, 30), None, "0,+,+,1"),
    ((4, 30), (0, 1), ""), ((4, 6, 1, 5), (0, 2, 3, 1), "0,3,1,2"),
])  # fmt: skip
def test_axes_are_put_in_order(both: Any, shape: tuple[int, ...], turn: Any, layout: str) -> None:
    values = A.reshape(-1)[: int(np.prod(shape))].reshape(shape) if np.prod(shape) <= 120 else None
    values = np.random.default_rng(9).standard_normal(shape).astype("f4") if values is None else values
    new = values.reshape(4, -1) if turn is None else values.transpose(turn)
    report = both({"same": B, "a": values}, {"same": B, "x": new})
    assert report.same
    assert report.tensors[1].layout == layout
    named = both({"same": B, "a": values}, {"same": B, "a": new})
    assert named.same
    assert named.tensors[1].layout == layout


def test_the_axes_of_a_plain_golden_array_are_put_in_the_order_of_the_dump(tmp_path: Path) -> None:
    dump = make_dump(tmp_path / "n.h5", {"conv": A, "b": B})
    worse = A.copy()
    worse[1, 2, 3] += 1
    report = tfdump.diff({"w": np.transpose(A, (0, 2, 1)), "b": B}, dump)
    assert report.same
    report = tfdump.diff({"conv": np.transpose(worse, (0, 2, 1)), "b": B}, dump)
    (tensor,) = (one for one in report.tensors if one.fails)
    assert tensor.comparison is not None
    assert tensor.comparison.index == (1, 2, 3)


def test_square_axes_are_exchanged_only_if_something_confirms_it(both: Any) -> None:
    """A missing transposition is no layout; that of a file with the channels first is."""
    square = np.random.default_rng(4).standard_normal((4, 5, 5)).astype("f4")
    golden = tensors({"turned": square, "next": C}, {"turned": ["inputs/x"], "next": ["turned"]})
    turned = square.transpose(0, 2, 1)
    assert both(golden, {"turned": turned, "next": C * 2}).tensors[0].status == "differs"
    assert both(golden, {"turned": turned, "next": C}).same
    assert (
        both({**golden, "other": A}, {"turned": turned, "next": C * 2, "other": A.transpose(0, 2, 1)}).tensors[0].layout
    )


def test_weights_without_an_axis_of_examples_are_turned_too(both: Any) -> None:
    attributes = {"axis0": "none"}
    golden = {
        "gradients/weights/d.kernel": Tensor(A[0], **attributes),
        "gradients/weights/d.bias": Tensor(B[0, 0], **attributes),
    }
    new = {"gradients/weights/w1": Tensor(A[0].T, **attributes), "gradients/weights/w2": Tensor(B[0, 0], **attributes)}
    report = both(golden, new, ({"kind": "gradients"}, {"kind": "gradients"}))
    assert report.same
    assert {t.layout for t in report.tensors} == {"1,0", ""}


HASH, OTHER = ({"inputs_sha256": json.dumps(names)} for names in (["ab", "cd"], ["ab", "ce"]))


def test_different_examples_are_not_paired_by_value(both: Any) -> None:
    golden, new = {"same": A, "a": B}, {"same": A, "x": B}
    swapped = {"inputs_sha256": json.dumps(["cd", "ab"])}
    report = both(golden, new, (HASH, swapped))
    assert report.same
    assert not any("as if both sides hold" in note for note in report.notes)
    report = both(golden, new, (HASH, OTHER))
    assert report.count("missing", "extra") == 2
    assert any("the inputs of" in note and "differ" in note for note in report.notes)
    unknown = both(golden, new, (HASH, {}))
    assert unknown.same
    assert any("as if both sides hold the same examples" in note for note in unknown.notes)
    saved = both({**golden, "inputs/x": C}, {**new, "inputs/y": C})
    assert not any("as if both sides hold" in note for note in saved.notes)
    assert both({**golden, "inputs/x": C}, {**new, "inputs/y": C + 1}).count("missing") == 1


def test_statistics_and_reduced_values_pair_nothing_and_that_is_told(both: Any) -> None:
    golden = {"same": A, "a": Tensor(B[:0], values=False, computed_shape=np.array(B.shape)),
              "r": Tensor(B.mean(-1), reduce="mean:-1")}  # fmt: skip
    report = both(golden, {"same": A, "x": B, "y": B.mean(-1)})
    assert report.count("missing") == 2
    assert any("only statistics or reduced values are stored: a, r" in note for note in report.notes)


def test_only_a_few_examples_are_read(both: Any) -> None:
    """The pair is that of the first examples; what differs later is found by the comparison."""
    rows = np.random.default_rng(0).standard_normal((40, 6)).astype("f4")
    late = rows.copy()
    late[20:] += 5
    report = both({"same": A, "a": rows}, {"same": A, "x": late})
    assert (report.tensors[1].paired_by, report.tensors[1].status) == ("exact value", "differs")


def test_missing_tensors_are_fused_only_next_to_what_agrees(both: Any) -> None:
    """A tensor further on that agrees proves nothing."""
    graph = {"conv": ["inputs/x"], "bn": ["conv"], "relu": ["bn"], "dense": ["relu"], "sum": ["dense"]}
    values = {name: np.random.default_rng(n).standard_normal((4, 6)).astype("f4") for n, name in enumerate(graph)}
    golden = tensors(values, graph)
    report = both(golden, {name: values[name] for name in ("relu", "dense", "sum")})
    assert [t.status for t in report.tensors] == ["fused", "fused", "same", "same", "same"]
    report = both(golden, {"relu": values["relu"] * 2, "dense": values["dense"], "sum": values["sum"]})
    assert [t.status for t in report.tensors[:2]] == ["missing", "missing"]
    without = both(values, {name: values[name] for name in ("relu", "dense", "sum")})
    assert without.count("missing") == 2  # without the graph, nothing tells


def positive_at_first() -> tuple[dict[str, Any], dict[str, Any]]:
    """A layer and the ReLU behind it, equal in the first examples, and their graph."""
    x = np.random.default_rng(0).standard_normal((20, 6)).astype("f4")
    layer = np.concatenate([np.abs(x[:10]), x[10:]])
    relu = np.maximum(layer, 0)
    values = {"layer": layer, "relu": relu, "next": relu @ np.arange(18, dtype="f4").reshape(6, 3)}
    return values, {"layer": ["inputs/x"], "relu": ["layer"], "next": ["relu"]}


@pytest.mark.parametrize("names", [("relu", "next"), ("node_1", "node_2")])
def test_what_equals_its_reader_in_the_first_examples_alone_is_fused(both: Any, names: tuple[str, str]) -> None:
    values, graph = positive_at_first()
    new = {names[0]: values["relu"], names[1]: values["next"]}
    report = both(tensors(values, graph), new, ({"examples": 20}, {"examples": 20} | LITE[1]))
    assert report.same, report.summary
    assert [t.status for t in report.tensors] == ["fused", "same", "same"]
    assert pairs(report)["layer"][1] == ""
    assert not any("layer =" in note for note in report.notes)
    new[names[0]] = np.concatenate([values["relu"][:12], values["relu"][12:] + 1])
    report = both(tensors(values, graph), new, ({"examples": 20}, {"examples": 20} | LITE[1]))
    assert [t.status for t in report.tensors] == ["differs", "differs", "same"]


def test_the_last_of_equal_operations_is_what_a_layer_gives(both: Any) -> None:
    values, graph = positive_at_first()
    golden = tensors({name: values[name] for name in ("relu", "next")}, {"relu": ["inputs/x"], "next": ["relu"]})
    names = {name: f"node_{number}" for number, name in enumerate(graph)}
    new_graph = {names[name]: [names.get(one, one) for one in read] for name, read in graph.items()}
    new = tensors({names[name]: value for name, value in values.items()}, new_graph)
    report = both(golden, new, ({"examples": 20}, {"examples": 20} | LITE[1]))
    assert report.same, report.summary
    assert pairs(report)["relu"] == ("node_1", "exact value")


def test_operations_inside_a_layer_that_agrees_are_fused(both: Any) -> None:
    """The layer's output tells by `operands` which operation gave it, and by `inputs` what the layer read."""
    inside = {"inputs": json.dumps(["d:op.MatMul"]), "operands": json.dumps(["d:op.BiasAdd"])}
    new = {"d:op.MatMul": Tensor(B, inputs='["inputs/x"]'), "d:op.BiasAdd": Tensor(C, inputs='["d:op.MatMul"]')}
    outer = Tensor(A, inputs='["inputs/x"]', operands='["d:op.BiasAdd"]')
    report = both({"d": A}, {**new, "d": outer}, LITE)
    assert report.same
    assert [t.status for t in report.tensors] == ["same", "fused", "fused"]
    assert both({"d": A}, {**new, "d": Tensor(A * 2, **inside)}, LITE).count("extra") == 2


def test_outputs_of_a_loop_that_nothing_reads_are_fused_with_the_one_that_is_read(both: Any) -> None:
    """The counter and the weights that a loop passes on are no tensors of the other side."""
    loop = {"gru:op.turn": ["inputs/x"], "gru:op.loop.0": ["gru:op.turn"], "gru:op.loop.1": ["gru:op.turn"],
            "gru": ["gru:op.loop.1"], "gru:op.dead": ["gru"]}  # fmt: skip
    values = {name: np.random.default_rng(n).standard_normal((4, 6)).astype("f4") for n, name in enumerate(loop)}
    report = both({"gru": values["gru"]}, tensors(values, loop), LITE)
    statuses = {t.shown_name: t.status for t in report.tensors}
    assert statuses == {**dict.fromkeys(loop, "fused"), "gru": "same", "gru:op.dead": "extra"}
    report = both({"gru": values["gru"] * 2}, tensors(values, loop), LITE)
    statuses = {t.shown_name: t.status for t in report.tensors}
    assert statuses["gru:op.loop.1"] == statuses["gru:op.turn"] == "extra"


def test_an_unknown_pairing_is_refused(both: Any) -> None:
    with pytest.raises(TfdumpError, match="pair 'value' is not one of names, values"):
        both({"a": A}, {"a": A}, pair="value")


@pytest.mark.parametrize("seed", range(20))
def test_no_bound_is_above_the_distance_that_it_stands_for(seed: int) -> None:
    random = np.random.default_rng(seed)
    golden = random.standard_normal((3, 40)) * random.choice([1e-3, 1, 1e3]) + random.choice([0, 5])
    new = golden + random.standard_normal((3, 40)) * random.choice([1e-6, 1e-2, 1])
    turned = np.stack([random.permutation(row) for row in new])
    old, other = sample_values(golden), sample_values(turned)
    apart = np.sqrt(((old.bounds - other.bounds) ** 2).sum(1))
    assert (apart <= np.linalg.norm(new - golden) * (1 + 1e-9) + 1e-9).all()


def test_large_integers_in_another_order_of_axes(both: Any) -> None:
    ids = np.random.default_rng(0).integers(0, 1 << 50, (4, 6, 70))
    report = both({"same": A, "ids": ids}, {"same": A, "x": ids.transpose(0, 2, 1)})
    assert report.same
    assert report.tensors[1].layout == "0,2,1"
