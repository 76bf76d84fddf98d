"""The graph of a run: what contains what, what reads what, where trouble starts, and what the page says of it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from support.check_dumps import normal, write_dump
from support.report_pages import Node, made
from tfdump.report.graph import Box, Graph, graph_of
from tfdump.report.graph_runs import MOST_BOXES, in_runs
from tfdump.report.records import Report

Tensors = dict[str, Any]


def reading(inputs: list[str] | None, values: Any = None, **more: Any) -> tuple[Any, dict[str, Any]]:
    """A tensor of a dump that reads these addresses; None where the dump does not say."""
    values = normal(3, 4) if values is None else values
    return values, ({} if inputs is None else {"inputs": json.dumps(inputs)}) | more


def activations(**tensors: Any) -> Tensors:
    return {f"activations/{name.replace('__', '.')}": entry for name, entry in tensors.items()}


def graph_in(report: Report) -> Graph:
    graph = graph_of(report.rows)
    assert graph is not None
    return graph


def edges(graph: Graph) -> set[tuple[str, str]]:
    return {(one.address, other.address) for one, other in graph.edges}


def nested(boxes: Any) -> list[Any]:
    """The names of boxes, with those of what is inside of each."""
    return [(box.name, nested(box.boxes)) if box.boxes else box.name for box in boxes]


def data_in(page: Node) -> tuple[list[dict[str, Any]], list[tuple[int, int]]]:
    """The boxes that the page draws, and the pairs of boxes with an arrow."""
    data = json.loads(page.the("script", id="graph-data").text)
    places = iter(data["arrows"])
    return data["boxes"], list(zip(places, places, strict=True))


def box_in(page: Node, address: str) -> dict[str, Any]:
    (box,) = (
        box for box in data_in(page)[0] if box.get("address", box["name"]) == address and box.get("kind") != "run"
    )
    return box


BLOCK = activations(
    stem=reading(["inputs/x"]),
    block__conv=reading(["stem"]),
    block__gate__dense=reading(["block.conv"]),
    block__gate__act=reading(["block.gate.dense"]),
    block__gate=reading(["block.conv"]),
    block__act=reading(["block.gate"]),
    block=reading(["stem", "inputs/mask"]),
    head=reading(["block"]),
)


class TestStructure:
    def test_layers_contain_their_tensors_and_their_sublayers(self, tmp_path: Path) -> None:
        report, _ = made(write_dump(tmp_path / "a.h5", BLOCK))
        assert nested(graph_in(report).boxes) == [
            "inputs/x", "inputs/mask", "stem", ("block", ["conv", ("gate", ["dense", "act", "gate"]), "act", "block"]),
            "head",
        ]  # fmt: skip

    def test_a_layer_hands_out_what_its_last_part_made_and_reads_what_no_part_of_it_reads(self, tmp_path: Path) -> None:
        report, _ = made(write_dump(tmp_path / "a.h5", BLOCK))
        assert edges(graph_in(report)) == {
            ("inputs/x", "stem"), ("stem", "block.conv"), ("block.conv", "block.gate.dense"),
            ("block.gate.dense", "block.gate.act"), ("block.gate.act", "block.gate"), ("block.gate", "block.act"),
            ("block.act", "block"), ("inputs/mask", "block"), ("block", "head"),
        }  # fmt: skip

    def test_operations_are_inside_of_their_layer_and_operands_come_before_inputs(self, tmp_path: Path) -> None:
        tensors = {
            "activations/norm:op.Sub": reading(["inputs/x"], **{"class": "Sub"}),
            "activations/norm:op.Log": reading(["norm:op.Sub"], source="my_layers.py:42", **{"class": "Log"}),
            "activations/norm": reading(["inputs/x"], operands='["norm:op.Log"]', operation="Mul", **{"class": "Norm"}),
        }
        report, page = made(write_dump(tmp_path / "a.h5", tensors))
        graph = graph_in(report)
        assert nested(graph.boxes) == ["inputs/x", ("norm", [":op.Sub", ":op.Log", "norm"])]
        assert edges(graph) == {("inputs/x", "norm:op.Sub"), ("norm:op.Sub", "norm:op.Log"), ("norm:op.Log", "norm")}
        assert "my_layers.py:42" in page.the("article", id="t2").text
        assert "operationMul" in page.the("article", id="t3").text
        assert box_in(page, "norm:op.Log")["text"] == "Log 3 \u00d7 4"
        assert data_in(page)[0][1]["text"] == "Norm"  # the layer

    def test_outputs_of_a_layer_and_its_calls_are_told_apart(self, tmp_path: Path) -> None:
        tensors = {
            "activations/lstm:0": reading(["inputs/x"]),
            "activations/lstm:1": reading(["inputs/x"]),
            "activations/shared": reading(["lstm:0"]),
            "activations/shared@1": reading(["lstm:1"]),
            "inputs/x": (normal(3, 4), {}),
            "outputs/shared@1": (normal(3, 4), {}),
        }
        report, _ = made(write_dump(tmp_path / "a.h5", tensors))
        graph = graph_in(report)
        assert nested(graph.boxes) == ["inputs/x", "lstm:0", "lstm:1", "shared", "shared@1", "outputs/shared@1"]
        assert ("shared@1", "outputs/shared@1") in edges(graph)
        assert all(box.row is not None for box in graph.boxes)

    def test_what_the_dump_does_not_hold_is_a_box_that_says_so(self, tmp_path: Path) -> None:
        tensors = activations(a__x=reading(["b"]), c=reading(["a.x", "a.gone", "inputs/y"]))
        report, page = made(write_dump(tmp_path / "a.h5", tensors | {"outputs/z": normal(3, 4)}))
        assert nested(graph_in(report).boxes) == ["inputs/y", "b", ("a", ["x", "gone"]), "c"]
        assert [box_in(page, name).get("kind") for name in ("b", "a.gone", "inputs/y", "c")] == [
            "absent", "absent", "input", None,
        ]  # fmt: skip
        text = page.the("section", id="graph").text
        assert "2 tensors that were read and that the page does not hold" in text
        assert "b, a.gone" in text
        assert "The graph leaves out outputs/z" in text

    def test_what_reads_unknown_tensors_has_no_arrow_and_the_page_says_so(self, tmp_path: Path) -> None:
        tensors = activations(a=reading(None), b=reading(["a"]), c=reading([]))
        _, page = made(write_dump(tmp_path / "a.h5", tensors))
        assert (
            "does not say what these tensors read, so no arrow leads to them: a."
            in page.the("section", id="graph").text
        )
        assert "readsnothing" in page.the("article", id="t3").text

    def test_a_name_that_nests_deeper_than_any_model_is_shown(self, tmp_path: Path) -> None:
        deep = ".".join("a" * 3000)
        _, page = made(write_dump(tmp_path / "a.h5", {f"activations/{deep}": reading(["inputs/x"])}))
        boxes, arrows = data_in(page)
        assert boxes[-1]["address"] == deep
        assert arrows == [(0, len(boxes) - 1)]
        assert len(boxes) == 52  # the input, 50 layers, the tensor

    def test_a_dump_that_does_not_say_what_is_read_has_no_graph_and_says_so(self, tmp_path: Path) -> None:
        _, page = made(write_dump(tmp_path / "a.h5", {"activations/a": normal(3, 4)}))
        assert "So the page has no graph." in page.the("section", id="graph").text
        assert len(page.all("script")) == 1
        assert not page.all("a", class_="to-graph")

    def test_a_dump_without_activations_says_nothing_of_a_graph(self, tmp_path: Path) -> None:
        _, page = made(write_dump(tmp_path / "a.h5", {"weights/a.kernel": (normal(3, 4), {"axis0": "none"})}))
        assert not page.all("section", id="graph")


class TestLevels:
    def test_a_nan_is_marked_where_it_starts_and_colors_the_layers_around_it(self, tmp_path: Path) -> None:
        bad = normal(3, 4)
        bad[1, 2] = np.nan
        tensors = activations(
            a=reading(["inputs/x"]), b__c=reading(["a"], bad), b=reading(["a"], bad), d=reading(["b"])
        )
        _, page = made(write_dump(tmp_path / "a.h5", tensors))
        boxes, _ = data_in(page)
        inner, layer = box_in(page, "b.c"), next(box for box in boxes if box.get("kind") == "layer")
        assert (inner["level"], inner["note"], inner["start"]) == ("bad", "NaN", "NaN starts here")
        assert (layer["level"], layer["start"]) == ("bad", "NaN starts inside")
        assert layer["note"] == "2 tensors, 2 with NaN or Inf"
        assert "level" not in box_in(page, "a")
        assert "start" not in box_in(page, "d")

    @pytest.mark.parametrize(
        ("factor", "level"),
        [
            (1.0, "same"),
            (1 + 1e-6, "close"),
            (1 + 5e-4, "slight"),
            (1.05, "clear"),
            (1.5, "severe"),
            (np.nan, "severe"),
        ],
    )
    def test_a_difference_is_as_grave_as_its_largest_error(self, tmp_path: Path, factor: float, level: str) -> None:
        values = normal(3, 4)
        dumps = [write_dump(tmp_path / f"{n}.h5", activations(a=reading(["inputs/x"], values * np.float32(one))))
                 for n, one in enumerate((1.0, factor))]  # fmt: skip
        _, page = made(*dumps)
        assert box_in(page, "a")["level"] == level

    def test_a_difference_starts_where_all_that_is_read_agrees(self, tmp_path: Path) -> None:
        """In two branches at once, however they are ordered; not behind what the dump does not hold."""

        def tensors(off: set[str]) -> Tensors:
            reads = {"a": ["inputs/x"], "b": ["a"], "c": ["a"], "d": ["b"], "e": ["c", "d"], "f": ["gone"], "g": ["e"]}
            return activations(**{
                name: reading(inputs, normal(3, 4, seed=ord(name)) * np.float32(2 if name in off else 1))
                for name, inputs in reads.items()
            })  # fmt: skip

        sides = [write_dump(tmp_path / f"{n}.h5", tensors(off)) for n, off in enumerate((set(), {"c", "d", "e", "f"}))]
        report, page = made(*sides)
        names = {row.number: row.address for row in report.rows}
        assert {names[number] for number in graph_in(report).starts} == {"c", "d"}
        assert box_in(page, "d")["start"] == "the difference starts here"
        assert "start" not in box_in(page, "e")

    def test_what_the_other_side_lacks_is_grave(self, tmp_path: Path) -> None:
        both = activations(a=reading(["inputs/x"]), b=reading(["a"], normal(3, 4, seed=1)))
        less = activations(a=reading(["inputs/x"]))
        _, page = made(write_dump(tmp_path / "a.h5", both), write_dump(tmp_path / "b.h5", less))
        assert (box_in(page, "b")["level"], box_in(page, "b")["note"]) == ("severe", "missing")


class TestLinks:
    def test_each_tensor_links_to_what_it_reads_and_what_reads_it(self, tmp_path: Path) -> None:
        tensors = activations(a=reading(["inputs/x"]), b=reading(["a"]), c=reading(["a", "b"]))
        _, page = made(write_dump(tmp_path / "a.h5", tensors))
        links = [(link.text, link.attributes["href"]) for link in page.the("article", id="t2").all("a", class_="name")]
        assert links == [("a", "#t1"), ("c", "#t3")]
        assert "inputs/x" in page.the("article", id="t1").text

    def test_each_row_links_to_its_box(self, tmp_path: Path) -> None:
        _, page = made(write_dump(tmp_path / "a.h5", BLOCK))
        boxes, _ = data_in(page)
        for row in page.the("table", id="tensors").the("tbody").all("tr"):
            (link,) = row.all("a", class_="to-graph")
            (box,) = (box for box in boxes if str(box.get("row")) == link.attributes["data-graph"])
            assert row.attributes["id"] == f"r{box['row']}"


def test_hostile_names_stay_text(tmp_path: Path) -> None:
    name = "</script><img src=x onerror=alert(1)>\u202e\u2028&amp;"
    tensors = {f"activations/{name.replace('/', '')}": reading(["inputs/x", name], **{"class": name})}
    _, page = made(write_dump(tmp_path / "a.h5", tensors))
    assert not page.all("img")
    assert "<" not in page.the("script", id="graph-data").text
    assert {box["name"] for box in data_in(page)[0]} >= {"inputs/x"}
    assert "\u202e" not in page.text


def test_the_page_without_a_graph_does_not_grow(tmp_path: Path) -> None:
    """The library, the scripts and the data are only where they are used."""
    sizes = []
    for number, inputs in enumerate((None, ["inputs/x"])):
        dump = write_dump(tmp_path / f"{number}.h5", activations(a=reading(inputs)))
        page = made(dump)[1]
        sizes.append(sum(len(script.text) for script in page.all("script")))
    assert sizes[0] < 10_000
    assert 50_000 < sizes[1] < 90_000


class TestRuns:
    @staticmethod
    def boxes(names: list[str]) -> list[Box]:
        return [Box("tensor", name, name) for name in names]

    def largest(self, boxes: list[Box]) -> int:
        return max(len(boxes), *(self.largest(box.boxes) for box in boxes if box.boxes), 0)

    def test_few_boxes_stay_as_they_are(self) -> None:
        boxes = self.boxes([f"dense_{n}" for n in range(MOST_BOXES)])
        assert in_runs(boxes) == boxes

    def test_names_that_begin_alike_make_runs(self) -> None:
        names = ["stem"] + [
            f"conv{n}_block{m}_{part}" for n in (1, 2) for m in range(12) for part in ("conv", "bn", "act")
        ]
        runs = in_runs(self.boxes(names))
        assert [run.name for run in runs] == ["stem", "conv1_*", "conv2_*"]
        assert [len(run.boxes) for run in runs] == [0, 36, 36]

    def test_inputs_and_outputs_of_the_model_stay_visible(self) -> None:
        boxes = self.boxes(["inputs/x", *(f"add_{n}" if n % 2 else f"conv2d_{n}" for n in range(100)), "outputs/y"])
        runs = in_runs(boxes)
        assert [runs[0], runs[-1]] == [boxes[0], boxes[-1]]
        assert len(runs) == 5

    def test_other_names_make_runs_of_about_equal_length(self) -> None:
        names = [f"add_{n}" if n % 2 else f"conv2d_{n}" for n in range(100)]
        runs = in_runs(self.boxes(names))
        assert [len(run.boxes) for run in runs] == [33, 33, 34]
        assert runs[0].name == "conv2d_0 … conv2d_32"

    @pytest.mark.parametrize("count", [61, 1000, 20_000])
    def test_no_box_holds_too_many_and_the_order_stays(self, count: int) -> None:
        boxes = self.boxes([f"add_{n}" if n % 2 else f"conv2d_{n}" for n in range(count)])
        runs = in_runs(boxes)
        assert self.largest(runs) <= MOST_BOXES
        assert [tensor for run in runs for tensor in run.tensors()] == boxes
