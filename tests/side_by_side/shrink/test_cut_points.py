"""Where parts can begin, on graphs written by hand."""

from tfdump.side_by_side.shrink.cut_points import cut_levels
from tfdump.side_by_side.shrink.records import CutPoint

CHAIN = {"a": ("inputs/x",), "b": ("a",), "c": ("b",), "d": ("c",)}
X = CutPoint("inputs/x", "inputs/x")


def points(*names: str) -> list[CutPoint]:
    return [*(CutPoint(name, name) for name in names), X]


def levels(
    golden: dict[str, tuple[str, ...]] | None, new: dict[str, tuple[str, ...]] | None, *names: str, target: str = "d"
) -> list[list[str]]:
    return [[one.new for one in level] for level in cut_levels((target, target), points(*names), golden, new)]


def test_the_nearest_comes_first_and_the_inputs_last() -> None:
    assert levels(CHAIN, CHAIN, "a", "b", "c") == [["c"], ["b"], ["inputs/x"]]
    assert levels(CHAIN, CHAIN) == [["inputs/x"]]


def test_the_way_back_doubles() -> None:
    chain = {f"l{n}": (f"l{n - 1}" if n else "inputs/x",) for n in range(20)}
    names = [f"l{n}" for n in range(19)]
    assert levels(chain, chain, *names, target="l19") == [["l18"], ["l17"], ["l15"], ["l11"], ["l3"], ["inputs/x"]]


def test_a_tensor_inside_of_another_layer_on_one_side_is_passed_by() -> None:
    fused = {"a": ("inputs/x",), "c": ("a",), "d": ("c",)}
    assert levels(CHAIN, fused, "a") == [["a"], ["inputs/x"]]


def test_both_sides_begin_at_the_same_tensors() -> None:
    golden = {"a": ("inputs/x",), "b": ("a",), "d": ("a", "b")}
    new = {"a": ("inputs/x",), "b": ("a",), "d": ("b",)}
    assert levels(golden, golden, "a", "b")[0] == ["a", "b"]
    assert levels(golden, new, "a", "b")[0] == ["a"]  # b begins on both sides, and a only on one


def test_several_golden_tensors_may_have_one_counterpart() -> None:
    golden = {"relu": ("inputs/x",), "dropout": ("relu",), "d": ("dropout",)}
    new = {"relu": ("inputs/x",), "d": ("relu",)}
    both = [CutPoint("relu", "relu"), CutPoint("dropout", "relu"), X]
    first = next(iter(cut_levels(("d", "d"), both, golden, new)))
    assert first == [CutPoint("dropout", "relu")]


def test_a_dump_has_no_graph() -> None:
    assert levels(None, CHAIN, "b", "c") == [["c"], ["b"], ["inputs/x"]]


def test_an_unknown_graph_gives_no_place() -> None:
    assert levels({"d": None}, CHAIN, "c") == []  # type: ignore[dict-item]
