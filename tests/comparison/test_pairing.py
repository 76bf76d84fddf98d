"""Which tensor belongs to which: names that Keras made up against structure, class, order, shape and graph."""

import itertools
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tfdump
from support.made_dumps import Tensor, comparison_in, make_dump
from tfdump.comparison.layers.alignment import align, rising
from tfdump.comparison.layers.automatic_names import is_automatic
from tfdump.comparison.verdict import DiffReport

RANDOM = np.random.default_rng(0)


def layer(name: str, values: Any, class_name: str = "Dense", structure: str = "", **attributes: Any) -> tuple[str, Any]:
    """An activation as a dump of a Keras model holds it."""
    known = {"class": class_name, **({"structure": structure} if structure else {}), **attributes}
    return name, Tensor(values, **known)


def rows(width: int = 3) -> Any:
    """Values that no other tensor has."""
    return RANDOM.standard_normal((4, width)).astype("f4")


def sequential(layers: list[tuple[str, Any, str]]) -> dict[str, Any]:
    """A Sequential model: names, values and classes, at the positions 0, 1, 2, ..."""
    return dict(
        layer(name, values, class_name, f"layers.{number}") for number, (name, values, class_name) in enumerate(layers)
    )


@pytest.fixture
def both(tmp_path: Path) -> Any:
    """Write two dumps and compare them."""
    return comparison_in(tmp_path)


def pairs(report: DiffReport) -> dict[str, str | None]:
    """Golden names with the new ones."""
    named = [(tensor.shown_name, tensor.new_name) for tensor in report.tensors if tensor.name]
    return {name: new.removeprefix("activations/") if new else None for name, new in named}


def extra(report: DiffReport) -> list[str]:
    return [tensor.shown_name for tensor in report.tensors if tensor.status == "extra"]


# Names that Keras makes up


def test_the_same_layers_after_others_were_built_are_the_same(both: Any) -> None:
    """Every name is shifted by one, so that each address is that of the neighbor."""
    a, b, c = rows(), rows(), rows()
    golden = sequential([("dense", a, "Dense"), ("dense_1", b, "Dense"), ("dense_2", c, "Dense")])
    new = sequential([("dense_1", a, "Dense"), ("dense_2", b, "Dense"), ("dense_3", c, "Dense")])
    report = both(golden, new)
    assert report.same
    assert pairs(report) == {"dense": "dense_1", "dense_1": "dense_2", "dense_2": "dense_3"}
    assert {tensor.paired_by for tensor in report.tensors} == {"structure"}
    [note] = report.notes
    assert note.startswith("addresses ignored for 3 of 3 tensors")
    assert "dense = dense_1, dense_1 = dense_2, dense_2 = dense_3 (override it with --map FILE)" in note
    new["dense_2"].values = b + 1
    report = both(golden, new)
    assert report.first is not None
    assert (report.first.shown_name, report.first.new_name) == ("dense_1", "activations/dense_2")


def test_a_map_decides_otherwise(both: Any) -> None:
    a, b = rows(), rows()
    golden = sequential([("dense", a, "Dense"), ("dense_1", b, "Dense")])
    new = sequential([("dense_1", b, "Dense"), ("dense_2", a, "Dense")])
    assert not both(golden, new, pair="names").same
    report = both(golden, new, renamed={"dense_1": "dense_1"})
    assert pairs(report) == {"dense": "dense_2", "dense_1": "dense_1"}
    assert report.same
    assert {tensor.shown_name: tensor.paired_by for tensor in report.tensors} == {"dense": "order", "dense_1": "map"}


def test_without_a_structure_the_order_and_the_shapes_pair(both: Any) -> None:
    a, b, c, d = rows(), rows(), rows(5), rows(5)
    golden = dict([layer("dense_1", a), layer("dense_2", b), layer("dense_3", c), layer("dense_4", d)])
    new = dict([layer("dense_2", a), layer("dense_3", b), layer("dense_4", c), layer("dense_5", d)])
    report = both(golden, new)
    assert report.same
    assert {tensor.paired_by for tensor in report.tensors} == {"order"}


@pytest.mark.parametrize("place", range(4))
def test_an_inserted_layer_is_extra_and_a_removed_one_missing(both: Any, place: int) -> None:
    values = [rows() for _ in range(3)]
    golden = sequential([(f"dense_{n}" if n else "dense", v, "Dense") for n, v in enumerate(values)])
    longer = [*values[:place], rows(), *values[place:]]
    new = sequential([(f"dense_{n + 5}", v, "Dense") for n, v in enumerate(longer)])
    report = both(golden, new)
    assert not report.same
    assert len(extra(report)) == 1
    assert None not in pairs(report).values()
    report = both(new, golden)
    assert not report.same
    assert [tensor.status for tensor in report.tensors].count("missing") == 1


def test_an_inserted_layer_of_another_class_leaves_the_others_as_they_are(both: Any) -> None:
    values = [rows() for _ in range(3)]
    golden = sequential([(f"dense_{n}", v, "Dense") for n, v in enumerate(values)])
    new = sequential([("dense_1", values[0], "Dense"), ("dropout", values[0], "Dropout"),
                      ("dense_2", values[1], "Dense"), ("dense_3", values[2], "Dense")])  # fmt: skip
    report = both(golden, new)
    assert pairs(report) == {"dense_0": "dense_1", "dense_1": "dense_2", "dense_2": "dense_3"}
    assert extra(report) == ["dropout"]
    assert report.count("differs") == 0
    assert both(golden, new, allow_missing=True).same


def test_addresses_decide_where_all_else_is_equal(both: Any) -> None:
    """A layer at the front, and the others keep their names: no shift explains more than the names do."""
    values = [rows() for _ in range(3)]
    golden = dict(layer(f"dense_{n}", values[n]) for n in (1, 2))
    new = dict(layer(f"dense_{n}", values[n]) for n in (0, 1, 2))
    report = both(golden, new)
    assert pairs(report) == {"dense_1": "dense_1", "dense_2": "dense_2"}
    assert extra(report) == ["dense_0"]
    assert report.notes == ()


def test_a_part_of_one_model_is_found_by_its_structure(both: Any) -> None:
    """As `-l dense_1` dumps it, of a model whose names are shifted by one."""
    values = [rows() for _ in range(3)]
    golden = sequential([(f"dense_{n}", v, "Dense") for n, v in enumerate(values)])
    report = both(golden, dict([layer("dense_2", values[1], structure="layers.1")]), allow_missing=True)
    assert pairs(report) == {"dense_0": None, "dense_1": "dense_2", "dense_2": None}
    assert report.same


def test_a_user_may_have_renamed_or_inserted_a_layer(both: Any) -> None:
    a, b, c = rows(), rows(), rows()
    golden = sequential([("dense", a, "Dense"), ("dense_1", b, "Dense"), ("dense_2", c, "Dense")])
    renamed = sequential([("dense", a, "Dense"), ("middle", b, "Dense"), ("dense_1", c, "Dense")])
    report = both(golden, renamed)
    assert report.same
    assert pairs(report) == {"dense": "dense", "dense_1": "middle", "dense_2": "dense_1"}
    inserted = sequential([("dense", a, "Dense"), ("middle", rows(), "Dense"), ("dense_1", b, "Dense"),
                           ("dense_2", c, "Dense")])  # fmt: skip
    report = both(golden, inserted)
    assert pairs(report) == {"dense": "dense", "dense_1": "dense_1", "dense_2": "dense_2"}
    assert extra(report) == ["middle"]


def test_names_that_a_user_chose_are_sure_in_any_order(both: Any) -> None:
    a, b = rows(), rows()
    golden = sequential([("key", a, "Dense"), ("query", b, "Dense"), ("dense", a + b, "Dense")])
    new = sequential([("query", b, "Dense"), ("key", a, "Dense"), ("dense_7", a + b, "Dense")])
    report = both(golden, new)
    assert report.same
    assert pairs(report) == {"key": "key", "query": "query", "dense": "dense_7"}


def test_names_that_two_users_chose_are_two_layers(both: Any) -> None:
    a = rows()
    golden = dict([layer("gate", a, structure="layers.1")])
    new = dict([layer("value", a, structure="layers.2"), layer("x", rows(), structure="layers.3")])
    report = both({**golden, "y": a}, {**new, "y": a}, pair="names")
    assert pairs(report)["gate"] is None
    assert sorted(extra(report)) == ["value", "x"]


def test_layers_of_other_shapes_pair_where_nothing_better_does(both: Any) -> None:
    a, b, c = rows(3), rows(5), rows(3)
    golden = sequential([("dense", a, "Dense"), ("dense_1", b, "Dense"), ("dense_2", c, "Dense")])
    new = sequential([("dense_1", a, "Dense"), ("dense_2", rows(6), "Dense"), ("dense_3", c, "Dense")])
    report = both(golden, new)
    assert report.first is not None
    assert (report.first.shown_name, report.first.reason) == ("dense_1", "shape (4, 6), golden has (4, 5)")
    assert report.count("same") == 2


def test_the_path_of_attributes_is_sure(both: Any) -> None:
    """A subclassed model that calls its layers in another order."""
    a, b = rows(), rows()
    golden = dict([layer("dense", a, structure="first"), layer("dense_1", b, structure="second")])
    new = dict([layer("dense_1", b, structure="second"), layer("dense", a, structure="first")])
    assert both(golden, new).same
    new = dict([layer("dense_5", b, structure="second"), layer("dense_4", a, structure="first")])
    report = both(golden, new)
    assert report.same
    assert {tensor.paired_by for tensor in report.tensors} == {"structure"}


def test_what_is_inside_a_layer_follows_it(both: Any) -> None:
    """Two blocks of one class, one inserted in front; inside, attributes tell the layers apart."""
    values = [rows() for _ in range(6)]

    def block(name: str, place: int, numbers: tuple[int, int], values: list[Any]) -> dict[str, Any]:
        inner = [layer(f"{name}.dense_{n}", v, structure=f"blocks.{place}.{attribute}")
                 for n, v, attribute in zip(numbers, values, ("up", "down"), strict=True)]  # fmt: skip
        return dict([*inner, layer(name, values[1], "Block", f"blocks.{place}")])

    golden = block("block", 0, (0, 1), values[:2]) | block("block_1", 1, (2, 3), values[2:4])
    new = block("block_1", 0, (1, 2), values[:2]) | block("block_2", 1, (3, 4), values[2:4])
    report = both(golden, new)
    assert report.same
    assert pairs(report)["block_1.dense_2"] == "block_2.dense_3"
    longer = new | block("block_3", 2, (5, 6), values[4:])
    report = both(golden, longer)
    assert sorted(extra(report)) == ["block_3", "block_3.dense_5", "block_3.dense_6"]
    assert report.count("same") == 6


def test_calls_outputs_and_captured_parts_follow_their_layer(both: Any) -> None:
    a = [rows() for _ in range(8)]

    def tensors(dense: str, other: str, lstm: str) -> dict[str, Any]:
        names = [f"{dense}", f"{dense}@1", f"{dense}:preactivation", f"{other}", f"{other}@1"]
        layers = [layer(name, v) for name, v in zip(names, a, strict=False)]
        return dict([*layers, *(layer(f"{lstm}:{n}", a[5 + n], "LSTM", layer=lstm) for n in range(2))])

    report = both(tensors("dense", "dense_1", "lstm"), tensors("dense_1", "dense_2", "lstm_3"))
    assert report.same
    assert pairs(report)["dense_1@1"] == "dense_2@1"
    assert pairs(report)["lstm:1"] == "lstm_3:1"


def test_gradients_follow_their_layer(both: Any) -> None:
    kernels, biases, acts = ([RANDOM.standard_normal(shape).astype("f4") for _ in range(3)]
                             for shape in ((3, 3), (3,), (4, 3)))  # fmt: skip

    def tensors(shift: int, groups: tuple[str, ...]) -> dict[str, Any]:
        gradients: dict[str, Any] = {}
        for n in range(3):
            name, place = f"dense_{n + shift}", f"layers.{n}"
            if "activations" in groups:
                gradients[f"gradients/activations/{name}"] = Tensor(acts[n], structure=place, layer=name)
            for variable, values in (("kernel", kernels[n]), ("bias", biases[n])):
                gradients[f"gradients/weights/{name}.{variable}"] = Tensor(
                    values, structure=f"{place}.{variable}", layer=name, axis0="none"
                )
        return gradients

    roots = ({"kind": "gradients"}, {"kind": "gradients"})
    for groups in (("activations",), ()):
        report = both(tensors(0, groups), tensors(1, groups), roots)
        assert report.same
        assert pairs(report)["gradients/weights/dense_1.kernel"] == "gradients/weights/dense_2.kernel"
    report = both(tensors(0, ("activations",)), tensors(1, ()), roots, allow_missing=True)
    assert report.same
    assert report.count("same") == 6


def test_inputs_and_outputs_with_automatic_names_are_paired_in_order(both: Any) -> None:
    a, b, c = rows(), rows(), rows()
    golden = {"inputs/input_layer": Tensor(a, **{"class": "InputLayer"}),
              "inputs/input_layer_1": Tensor(b, **{"class": "InputLayer"}),
              "dense": c, "outputs/dense": Tensor(c, **{"class": "Functional"})}  # fmt: skip
    new = {"inputs/input_layer_1": Tensor(a, **{"class": "InputLayer"}),
           "inputs/input_layer_2": Tensor(b, **{"class": "InputLayer"}),
           "dense_1": c, "outputs/dense_1": Tensor(c, **{"class": "Functional"})}  # fmt: skip
    report = both(golden, new)
    assert report.same
    assert {t.name: t.paired_by for t in report.tensors if t.name}["inputs/input_layer_1"] == "position"


@pytest.mark.parametrize("inputs", [True, False])
def test_the_graph_tells_branches_apart(both: Any, inputs: bool) -> None:
    """Two branches of equal layers that run in another order; without the graph, nothing but the order tells."""
    values = {name: rows() for name in ("a1", "b1", "a2", "b2", "sum")}
    graph = {"a1": ["inputs/x"], "b1": ["inputs/x"], "a2": ["a1"], "b2": ["b1"], "sum": ["a2", "b2"]}

    def dump(names: dict[str, str], order: list[str]) -> dict[str, Any]:
        layers = []
        for key in order:
            reads = {"inputs": json.dumps([names.get(one, one) for one in graph[key]])} if inputs else {}
            layers.append(layer(names[key], values[key], "Add" if key == "sum" else "Dense", **reads))
        return dict(layers)

    golden_names = {"a1": "dense", "b1": "dense_1", "a2": "dense_2", "b2": "dense_3", "sum": "add"}
    new_names = {"a1": "dense_7", "b1": "dense_8", "a2": "dense_9", "b2": "dense_10", "sum": "add_1"}
    golden = dump(golden_names, ["a1", "b1", "a2", "b2", "sum"])
    report = both(golden, dump(new_names, ["a1", "a2", "b1", "b2", "sum"]), pair="names")
    assert report.same is inputs
    assert report.count("missing", "extra") == 0


def test_what_is_not_known_of_the_graph_counts_for_nothing(tmp_path: Path) -> None:
    """The second tensor does not tell what it read: it may be the first, and what follows from that is not known."""
    from tfdump.comparison.sides import open_side
    from tfdump.dump.graph.labels import graph_labels

    def reads(*names: str) -> dict[str, str]:
        return {"inputs": json.dumps(names)}

    tensors = [layer("a", rows(), **reads("inputs/x")), layer("b", rows()), layer("c", rows(), **reads("b")),
               layer("d", rows(), **reads("a", "inputs/y"))]  # fmt: skip
    with open_side(make_dump(tmp_path / "d.h5", dict(tensors))) as side:
        [labels] = graph_labels(side.items)
    known = {name: (ahead > 0, behind > 0) for name, (ahead, behind) in labels.items()}
    assert known == {"a": (True, False), "b": (False, True), "c": (False, True), "d": (True, True)}


# Plain arrays, and other formats


def test_plain_arrays_with_shifted_names(tmp_path: Path) -> None:
    values = [rows() for _ in range(12)]
    golden = make_dump(tmp_path / "g.h5", sequential([(f"dense_{n}", v, "Dense") for n, v in enumerate(values)]))
    shifted = {f"dense_{n + 2}": v for n, v in enumerate(values)}
    report = tfdump.diff(golden, shifted)
    assert report.same
    assert any(note.startswith("addresses ignored for 10 of 12") for note in report.notes) or report.notes
    assert tfdump.diff(shifted, golden).same
    np.savez(tmp_path / "n.npz", **shifted)
    assert tfdump.diff(golden, tmp_path / "n.npz").same
    assert tfdump.diff(tmp_path / "n.npz", {f"dense_{n}": v for n, v in enumerate(values)}).same
    import h5py

    with h5py.File(tmp_path / "n.h5", "w") as file:  # sorted by name: dense_10 before dense_2
        for name, value in shifted.items():
            file[f"activations/{name}"] = value
    assert tfdump.diff(golden, tmp_path / "n.h5").same
    wrong = dict(shifted, dense_5=shifted["dense_5"] + 1)
    report = tfdump.diff(golden, wrong)
    assert report.first is not None
    assert (report.first.shown_name, report.first.new_name) == ("dense_3", "dense_5")


def test_a_few_plain_arrays_keep_their_names(tmp_path: Path) -> None:
    values = [rows() for _ in range(4)]
    golden = make_dump(tmp_path / "g.h5", sequential([(f"dense_{n}", v, "Dense") for n, v in enumerate(values)]))
    report = tfdump.diff(golden, {"dense_1": values[1], "dense_3": values[3]}, allow_missing=True)
    assert report.same
    assert report.count("same") == 2
    named = make_dump(tmp_path / "u.h5", sequential([("enc_1", values[0], "Dense"), ("enc_2", values[1], "Dense")]))
    report = tfdump.diff(named, {"enc_2": values[1], "enc_3": values[0]}, allow_missing=True, pair="names")
    assert pairs(report) == {"enc_1": None, "enc_2": "enc_2"}


def test_one_plain_array_still_stands_for_the_output_too(tmp_path: Path) -> None:
    a, b = rows(), rows()
    tensors = {**sequential([("dense", a, "Dense"), ("dense_1", b, "Dense")]), "outputs/dense_1": b}
    golden = make_dump(tmp_path / "g.h5", tensors)
    report = tfdump.diff(golden, {"dense_1": a, "dense_2": b})
    assert report.same
    assert pairs(report) == {"dense": "dense_1", "dense_1": "dense_2", "outputs/dense_1": "dense_2"}


def test_operations_of_a_graph_with_shifted_numbers(both: Any) -> None:
    a, b, c = rows(), rows(), rows()
    golden = dict([layer("dense_3", a, structure="layers.1"), layer("add", b, "Add", "operations.2"),
                   layer("add_1", c, "Add", "operations.3")])  # fmt: skip
    new = {"dense_3:op.MatMul": Tensor(a - 1, layer="dense_3", **{"class": "MatMul"}),
           "dense_3": Tensor(a, **{"class": "Relu"}), "add_2": Tensor(b, **{"class": "AddV2"}),
           "add_3": Tensor(c, **{"class": "AddV2"})}  # fmt: skip
    report = both(golden, new, ({}, {"model_class": "SavedModel"}), allow_missing=True)
    assert report.same
    assert pairs(report) == {"dense_3": "dense_3", "add": "add_2", "add_1": "add_3"}


def test_equal_names_in_two_formats_are_trusted_in_any_order(both: Any) -> None:
    """The operations of a graph of another format may run in another order."""
    a, b = rows(), rows()
    golden = sequential([("dense", a, "Dense"), ("dense_1", b, "Dense")])
    new = {"dense_1": Tensor(b, **{"class": "Relu"}), "dense": Tensor(a, **{"class": "Relu"})}
    assert both(golden, new, ({}, {"model_class": "TFLite"})).same


# How it is done


def test_thousands_of_layers_are_paired_in_seconds() -> None:
    from tfdump.comparison.layers.pairing import PairingBasis, pair_layers
    from tfdump.comparison.layers.tree import Layer

    def root(numbers: range, place: int, inserted: int | None) -> Layer:
        top = Layer("")
        for position, number in enumerate(numbers):
            if position == inserted:
                top.inside["x"] = Layer("dense_99999", "dense_99999", "Dense", shapes={3})
            name = f"dense_{number}"
            top.inside[name] = Layer(
                name, name, "Dense", structure=f"layers.{position + place}", shapes={number % 7 - place % 7}
            )
        return top

    began = time.process_time()
    paths = pair_layers(root(range(5000), 0, None), root(range(7, 5007), 0, 2500), PairingBasis(True, True, True))
    assert paths == {f"dense_{n}": f"dense_{n + 7}" for n in range(5000)}
    assert time.process_time() - began < 20


def test_alignments_are_the_best_there_are() -> None:
    for seed in range(60):
        random = np.random.default_rng(seed)
        height, width = random.integers(0, 6, 2)
        scores = random.integers(0, 4, (height, width))
        alignment = align(int(height), int(width), lambda row, columns, s=scores: s[row, columns].astype(np.int64))
        assert all(a < c and b < d for (a, b), (c, d) in itertools.pairwise(alignment))
        assert all(scores[pair] > 0 for pair in alignment)
        best = 0
        for count in range(min(height, width) + 1):
            for rows in itertools.combinations(range(height), count):
                for others in itertools.combinations(range(width), count):
                    best = max(best, int(sum(scores[pair] for pair in zip(rows, others, strict=True))))
        assert sum(scores[pair] for pair in alignment) == best


def test_of_equal_alignments_the_early_ones_are_taken() -> None:
    """Where the last layers of a model are fused away, the first ones are what is there."""
    for height, width in ((3, 2), (2, 3), (7, 4), (4, 7), (1, 3), (3, 1)):
        alignment = align(height, width, lambda row, columns, n=width: np.ones(n, np.int64)[columns])
        assert alignment == [(place, place) for place in range(min(height, width))]


def test_rising_subsequences_are_the_longest() -> None:
    for values in itertools.permutations(range(6)):
        chain = [values[position] for position in rising(values)]
        assert chain == sorted(chain)
        longest = max(
            len(part)
            for size in range(7)
            for part in itertools.combinations(values, size)
            if list(part) == sorted(part)
        )
        assert len(chain) == longest


@pytest.mark.parametrize(
    ("name", "class_name", "automatic"),
    [
        ("dense", "Dense", True), ("dense_12", "Dense", True), ("conv2d_1", "Conv2D", True), ("re_lu", "ReLU", True),
        ("multi_head_attention_3", "MultiHeadAttention", True), ("forward_lstm_1", "LSTM", True),
        ("lstm~1", "LSTM", True), ("dense_a", "Dense", False), ("fc_1", "Dense", False),
        ("conv1", "Conv2D", False),
        ("dense_1_2", "Dense", False),
    ],
)  # fmt: skip
def test_names_that_keras_makes_up(name: str, class_name: str, automatic: bool) -> None:
    assert is_automatic(name, class_name) is automatic
