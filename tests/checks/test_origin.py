"""Where NaN and Inf begin along the graph of a dump, on dumps with planted faults made with h5py alone."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tfdump
from support.check_dumps import normal, write_dump
from tfdump.checks import CheckReport
from tfdump.checks.bad_rows import MOST_ROWS


def tensor(values: np.ndarray, reads: list[str] | None = None, **further: Any) -> tuple[np.ndarray, dict[str, Any]]:
    """Values with the attributes `inputs`, `class`, and others; a list among them is stored as JSON."""
    attributes = {name: json.dumps(value) if isinstance(value, list) else value for name, value in further.items()}
    kind = attributes.pop("kind", "Dense")
    return values, {"class": kind} | ({} if reads is None else {"inputs": json.dumps(reads)}) | attributes


def bad(rows: dict[int, float], *shape: int, seed: int = 0) -> np.ndarray:
    """Random values with one bad element, the second, in each of these rows."""
    values = normal(*(shape or (20, 3)), seed=seed)
    for row, value in rows.items():
        values[row, 1] = value
    return values


GOOD = bad({})
NAN, INF = np.nan, np.inf


def checked(folder: Path, tensors: dict[str, Any], **options: Any) -> CheckReport:
    """The report of a dump of these tensors; those without a group are activations."""
    named = {name if name.startswith(("inputs/", "outputs/")) else f"activations/{name}": value
             for name, value in tensors.items()}  # fmt: skip
    root = options.pop("root", {})
    return tfdump.check(write_dump(folder / "d.h5", named, **root), **options)


def messages(report: CheckReport) -> list[str]:
    return [origin.message for origin in report.origins]


def places(report: CheckReport) -> list[tuple[str, str, int | None]]:
    return [(one.check, one.tensor.removeprefix("activations/"), one.example) for one in report.origins]


# Along the graph


def test_an_operation_is_named_by_line_with_the_value_that_went_in(tmp_path: Path) -> None:
    """The other branch is bad too, is later in the order of execution, and begins by itself."""
    shifted, scaled = normal(20, 3, seed=1) ** 2 + 1, normal(20, 3, seed=2) ** 2 + 1
    shifted[17, 2], scaled[4, 0] = -0.0034, 0
    logarithm, ratio = np.full((20, 3), 0.5, "f4"), np.full((20, 3), 0.5, "f4")
    logarithm[17, 2], ratio[4, 0] = NAN, NAN
    report = checked(tmp_path, {
        "inputs/x": GOOD,
        "norm:op.Sub": tensor(shifted, ["inputs/x"], kind="Sub", source="my_layers.py:41"),
        "scale:op.Mul": tensor(scaled, ["inputs/x"], kind="Mul"),
        "norm:op.Log": tensor(logarithm, ["norm:op.Sub"], kind="Log", source="my_layers.py:42"),
        "norm": tensor(logarithm, ["inputs/x"], kind="Norm", operands=["norm:op.Log"], operation="Mul"),
        "scale": tensor(ratio, ["inputs/x"], kind="Scale", operands=["scale:op.Mul", "scale:op.Mul_1"],
                        operation="RealDiv", source="my_layers.py:7"),
        "scale:op.Mul_1": tensor(scaled, ["inputs/x"], kind="Mul"),
        "head": tensor(logarithm * ratio, ["norm", "scale"]),
        "outputs/head": logarithm * ratio,
    })  # fmt: skip
    assert messages(report) == [
        "NaN starts in 'norm:op.Log' (my_layers.py:42), example 17: its input 'norm:op.Sub' is -0.0034 there",
        "NaN starts in 'scale' (RealDiv, my_layers.py:7), example 4: "
        "its inputs 'scale:op.Mul' is 0 and 'scale:op.Mul_1' is 0 there",
    ]
    first, second = report.origins
    assert (first.tensor, first.example, first.index) == ("activations/norm:op.Log", 17, (17, 2))
    assert (first.operation, first.source, first.certain) == ("Log", "my_layers.py:42", True)
    (read,) = first.inputs
    assert (read.tensor, read.index, read.value) == ("activations/norm:op.Sub", (17, 2), np.float32(-0.0034))
    assert (read.region, read.count, read.zeros, read.infinities, read.not_numbers) == ("example", 3, 0, 0, 0)
    assert (read.minimum, read.maximum) == (np.float32(-0.0034), shifted[17].max())
    assert (second.operation, [one.value for one in second.inputs]) == ("RealDiv", [0, 0])


def test_what_a_bad_tensor_feeds_is_no_origin(tmp_path: Path) -> None:
    report = checked(tmp_path, {
        "inputs/x": GOOD,
        "a": tensor(GOOD, ["inputs/x"]),
        "b": tensor(bad({3: NAN}), ["a"], kind="Log"),
        "c": tensor(bad({3: NAN}), ["a", "b"]),
        "d": tensor(bad({3: NAN, 5: NAN}), ["c"]),
    })  # fmt: skip
    assert places(report) == [("nan", "b", 3), ("nan", "d", 5)]


def test_an_example_whose_inputs_are_clean_is_an_origin_although_others_are_not(tmp_path: Path) -> None:
    read = bad({3: NAN, 9: NAN}, seed=5)
    report = checked(tmp_path, {
        "inputs/x": GOOD,
        "a": tensor(read, ["inputs/x"], kind="Log"),
        "b": tensor(bad({3: NAN, 9: NAN, 17: NAN}), ["a"], kind="Sqrt"),
    }, root={"first_example": 100})  # fmt: skip
    assert places(report) == [("nan", "a", 103), ("nan", "b", 117)]
    value = f"{float(read[17, 1]):.6g}"
    assert messages(report)[1] == f"NaN starts in 'b' (Sqrt), example 117: its input 'a' is {value} there"
    assert report.origins[1].index == (17, 1)


@pytest.mark.parametrize(
    ("root", "axis0"),
    [({"training": True}, "example"), ({"depends_on_batch": '["b"]'}, "example"), ({}, "batch")],
)
def test_of_tensors_that_mix_examples_only_clean_inputs_tell(tmp_path: Path, root: Any, axis0: str) -> None:
    tensors = {
        "a": tensor(bad({3: NAN}), ["inputs/x"]),
        "b": tensor(bad({3: NAN, 4: NAN}), ["a"], axis0=axis0),
    }
    assert places(checked(tmp_path, tensors, root=root)) == [("nan", "a", 3)]


def test_more_bad_examples_than_are_noted_make_no_false_origin(tmp_path: Path) -> None:
    many = np.full((MOST_ROWS + 2000, 2), NAN, np.float32)
    more = np.concatenate([many, many[:10]])
    fewer = np.concatenate([many, np.zeros((10, 2), np.float32)])
    fewer[5] = 0
    report = checked(tmp_path, {"a": tensor(fewer, ["inputs/x"]), "b": tensor(more, ["a"])})
    assert places(report) == [("nan", "a", 0), ("nan", "b", 5)]
    fewer[5] = NAN
    report = checked(tmp_path, {"a": tensor(fewer, ["inputs/x"]), "b": tensor(more, ["a"])})
    assert places(report) == [("nan", "a", 0)]


def test_inf_is_a_check_of_its_own_and_an_origin_of_nan_says_that_its_input_holds_it(tmp_path: Path) -> None:
    report = checked(tmp_path, {
        "a": tensor(bad({3: -INF}), ["inputs/x"], kind="Log"),
        "b": tensor(bad({3: NAN}), ["a"], kind="Exp"),
        "c": tensor(bad({3: NAN}), ["a"], kind="LayerNormalization"),
        "inputs/x": bad({3: 0}),
    })  # fmt: skip
    finite = bad({3: -INF})[3, [0, 2]]
    low, high = (f"{float(value):.6g}" for value in sorted(finite))
    assert messages(report) == [
        "NaN starts in 'b' (Exp), example 3: its input 'a' is -inf there",
        f"NaN starts in 'c' (LayerNormalization), example 3: its input 'a' is -inf there and lies between {low} and "
        f"{high} (1 of 3 values is Inf) in that example",
        "Inf starts in 'a' (Log), example 3: its input 'inputs/x' is 0 there",
    ]


def test_an_origin_of_nan_names_the_inf_from_which_it_comes(tmp_path: Path) -> None:
    """What lies between may be inside a layer; Inf in another example, or in another branch, is no cause."""
    report = checked(tmp_path, {
        "inputs/x": GOOD,
        "block.exp": tensor(bad({3: INF, 7: INF}), ["inputs/x"], kind="Exp"),
        "other": tensor(bad({3: INF}), ["inputs/x"], kind="Exp"),
        "block": tensor(bad({3: INF, 7: INF}), ["inputs/x"], kind="Block"),
        "flat": tensor(bad({3: INF}), ["block"], kind="Flatten"),
        "late": tensor(bad({3: NAN}), ["flat"], kind="Sin"),
        "lost": tensor(bad({5: NAN}), ["flat"], kind="Log"),
        "outputs/0": bad({3: NAN, 7: NAN}),
    })  # fmt: skip
    value = f"{float(GOOD[5, 1]):.6g}"
    assert [one.message for one in report.origins if one.check == "nan"] == [
        "NaN starts in 'late' (Sin), example 3, after Inf in 'block.exp': its input 'flat' is inf there",
        f"NaN starts in 'lost' (Log), example 5: its input 'flat' is {value} there",
        "NaN first appears in 'outputs/0' (example 7), after Inf in 'block.exp'",
    ]


def test_a_bad_input_of_the_model_is_the_origin_of_what_follows(tmp_path: Path) -> None:
    report = checked(tmp_path, {
        "inputs/x": bad({9: NAN}),
        "a": tensor(bad({2: NAN, 9: NAN}), ["inputs/x"], kind="Log"),
        "b": tensor(bad({9: NAN}), ["inputs/x"]),
    })  # fmt: skip
    assert places(report) == [("nan", "inputs/x", 9), ("nan", "a", 2)]
    assert messages(report)[0] == "NaN is in the input itself: 'inputs/x' (example 9)"
    assert report.origins[0].certain


def test_outputs_of_the_model_count_only_where_nothing_before_them_is_bad(tmp_path: Path) -> None:
    tensors = {
        "inputs/x": GOOD,
        "a": tensor(bad({3: NAN}), ["inputs/x"]),
        "outputs/0": bad({3: NAN}),
        "outputs/1": bad({3: NAN, 6: NAN}),
    }
    report = checked(tmp_path, tensors)
    assert places(report) == [("nan", "a", 3), ("nan", "outputs/1", 6)]
    text = "NaN first appears in 'outputs/1' (example 6); everything before it is clean in that example"
    assert messages(report)[1] == text
    assert [one.certain for one in report.origins] == [True, False]


def test_a_circle_falls_back_to_the_order_of_execution(tmp_path: Path) -> None:
    report = checked(tmp_path, {"a": tensor(bad({3: NAN}), ["b"]), "b": tensor(bad({3: NAN}), ["a"])})
    assert messages(report) == ["NaN first appears in 'a' (example 3); everything before it is clean"]


# Layers in layers


def nested(inner: dict[int, float], outer: dict[int, float]) -> dict[str, Any]:
    return {
        "inputs/x": GOOD,
        "block.log": tensor(bad(inner), ["inputs/x"], kind="Log"),
        "block.act": tensor(bad(inner), ["block.log"], kind="ReLU"),
        "block": tensor(bad(outer), ["inputs/x"], kind="Functional"),
        "block@1.log": tensor(GOOD, ["block"], kind="Log"),
        "block@1": tensor(bad(outer), ["block"], kind="Functional"),
    }


def test_a_layer_of_layers_is_no_origin_where_one_inside_is_bad(tmp_path: Path) -> None:
    assert places(checked(tmp_path, nested({3: NAN}, {3: NAN}))) == [("nan", "block.log", 3)]


def test_a_layer_of_layers_is_an_origin_where_those_inside_are_clean(tmp_path: Path) -> None:
    report = checked(tmp_path, nested({3: NAN}, {3: NAN, 5: NAN}))
    assert places(report) == [("nan", "block.log", 3), ("nan", "block", 5)]
    assert places(checked(tmp_path, nested({}, {5: NAN}))) == [("nan", "block", 5)]


def test_further_tensors_of_a_call_lead_to_its_output_and_its_sublayers(tmp_path: Path) -> None:
    """Here the sublayer `out` reads the scores by way of operations without an address."""
    report = checked(tmp_path, {
        "inputs/x": GOOD,
        "mha.query": tensor(GOOD, ["inputs/x"]),
        "mha:attention_scores": tensor(bad({3: NAN}), ["inputs/x"], kind="MultiHeadAttention"),
        "mha.out": tensor(bad({3: NAN}), ["mha.query"]),
        "mha": tensor(bad({3: NAN}), ["inputs/x"], kind="MultiHeadAttention"),
        "dense:preactivation": tensor(bad({8: NAN}), ["inputs/x"]),
        "dense": tensor(bad({8: NAN}), ["inputs/x"]),
        "lstm:0": tensor(bad({9: NAN}), ["inputs/x"], kind="LSTM"),
        "lstm:1": tensor(bad({9: NAN}), ["inputs/x"], kind="LSTM"),
    })  # fmt: skip
    assert places(report) == [
        ("nan", "mha:attention_scores", 3),
        ("nan", "dense:preactivation", 8),
        ("nan", "lstm:0", 9),
    ]


def test_equal_tensors_are_one_origin_which_is_the_innermost(tmp_path: Path) -> None:
    report = checked(tmp_path, {
        "block:op.Sub": tensor(GOOD, ["inputs/x"], kind="Sub"),
        "block.act": tensor(bad({3: NAN}), ["block:op.Sub"], operands=["block:op.Sub"], operation="Log"),
        "block": tensor(bad({3: NAN}), ["inputs/x"], operands=["block:op.Sub"], operation="Log"),
    })  # fmt: skip
    assert places(report) == [("nan", "block.act", 3)]


def test_with_operations_a_layer_is_an_origin_though_another_inside_is_bad(tmp_path: Path) -> None:
    """`block.dead` is bad and reaches nothing; the output of the block was computed from what is clean."""
    report = checked(tmp_path, {
        "block:op.Sub": tensor(GOOD, ["inputs/x"], kind="Sub"),
        "block.dead": tensor(bad({3: NAN}), ["inputs/x"], kind="Log"),
        "block": tensor(bad({3: NAN, 4: NAN}), ["inputs/x"], operands=["block:op.Sub"], operation="Log"),
    })  # fmt: skip
    assert places(report) == [("nan", "block.dead", 3), ("nan", "block", 3)]


# What is not known


def test_an_input_that_is_not_in_the_dump_is_a_doubt(tmp_path: Path) -> None:
    report = checked(tmp_path, {
        "a": tensor(GOOD, ["inputs/x"]),
        "c": tensor(bad({3: NAN}), ["b", "a"], kind="Concatenate"),
        "e": tensor(bad({3: NAN}), ["d"]),
        "f": tensor(bad({7: NAN}), ["d", "b"]),
    })  # fmt: skip
    row = GOOD[3]
    text = f"its input 'a' lies between {float(row.min()):.6g} and {float(row.max()):.6g} in that example"
    assert messages(report) == [
        f"NaN first appears in 'c' (Concatenate), example 3; its input 'b' is not in the dump; {text}",
        "NaN first appears in 'f' (Dense), example 7; its inputs 'd' and 'b' are not in the dump",
    ]
    assert [one.certain for one in report.origins] == [False, False]
    assert [(one.tensor, one.reason) for one in report.origins[0].inputs] == [
        ("activations/a", None), ("activations/b", "not in the dump"),
    ]  # fmt: skip


def test_an_input_that_is_not_selected_was_not_checked(tmp_path: Path) -> None:
    tensors = {"inputs/x": GOOD, "a": tensor(GOOD, ["inputs/x"]), "b": tensor(bad({3: NAN}), ["a"])}
    report = checked(tmp_path, tensors, layers="b")
    assert messages(report) == ["NaN first appears in 'b' (Dense), example 3; its input 'a' was not checked"]
    report = checked(tmp_path, tensors | {"a": tensor(bad({3: NAN}), ["inputs/x"])}, layers="a")
    assert messages(report) == [
        "NaN starts in 'a' (Dense), example 3, or in 'inputs/x', which was not checked"
    ]  # fmt: skip


def test_inputs_of_the_model_that_were_not_stored_may_be_the_origin(tmp_path: Path) -> None:
    report = checked(tmp_path, {
        "a": tensor(bad({3: NAN}), ["inputs/image"], kind="Conv2D"),
        "b": tensor(GOOD, ["inputs/image"]),
        "c": tensor(bad({5: NAN}), ["b", "inputs/image"], kind="Add"),
    })  # fmt: skip
    stored = "which the dump does not hold (--save-inputs stores it)"
    assert messages(report) == [
        f"NaN starts in 'a' (Conv2D), example 3, or in 'inputs/image', {stored}",
        f"NaN starts in 'c' (Add), example 5, or in 'inputs/image', {stored}: its input 'b' is "
        f"{float(GOOD[5, 1]):.6g} there",
    ]


def test_a_tensor_that_reads_nothing_says_so(tmp_path: Path) -> None:
    table = tensor(np.array([[1, NAN]], np.float32), [], kind="Const", axis0="none")
    report = checked(tmp_path, {"table": table, "sum": tensor(bad({3: NAN}), ["table", "inputs/x"])})
    assert messages(report) == ["NaN starts in 'table' (Const) at [0, 1]: it reads no other tensor"]


def test_a_tensor_without_inputs_among_others_is_judged_by_the_order(tmp_path: Path) -> None:
    report = checked(tmp_path, {
        "a": tensor(bad({3: NAN}), ["inputs/x"]),
        "b": tensor(bad({3: NAN})),
        "c": tensor(bad({4: NAN})),
    })  # fmt: skip
    assert places(report) == [("nan", "a", 3), ("nan", "c", 4)]


# What went in


def held(folder: Path, origin: np.ndarray, read: np.ndarray, kind: str, **further: Any) -> str:
    """What the message says of the one input."""
    tensors = {"a": tensor(read, ["inputs/x"], **further), "b": tensor(origin, ["a"], kind=kind)}
    (text,) = (one.message for one in checked(folder, tensors).origins if one.check == "nan")
    return text.partition(": its input ")[2]


SHAPED = np.zeros((6, 4, 3), np.float32)
SHAPED[2, 1, 2] = NAN


@pytest.mark.parametrize(
    ("shape", "axis0", "index"),
    [((6, 4, 3), "example", (2, 1, 2)), ((6, 1, 3), "example", (2, 0, 2)), ((6, 4, 1), "example", (2, 1, 0)),
     ((3,), "none", (2,)), ((4, 1), "none", (1, 0)), ((1, 4, 3), "none", (0, 1, 2)), ((), "none", ())],
)  # fmt: skip
def test_the_element_is_the_one_that_broadcasting_puts_there(
    tmp_path: Path, shape: tuple[int, ...], axis0: str, index: tuple[int, ...]
) -> None:
    read = np.asarray(normal(*shape, seed=4)).astype(np.float32)
    assert np.broadcast_to(read, SHAPED.shape)[2, 1, 2] == read[index]
    assert held(tmp_path, SHAPED, read, "Log", axis0=axis0) == f"'a' is {float(read[index]):.6g} there"


@pytest.mark.parametrize(
    ("shape", "kind"),
    [((6, 3), "Log"), ((6, 4, 2), "Log"), ((6, 4, 3), "Dense"), ((6, 4, 3), "BatchMatMulV2"), ((6, 4), "Mean"),
     ((6, 4, 3), "TensorListStack")],
)  # fmt: skip
def test_where_no_element_belongs_to_it_the_range_of_the_example_is_told(
    tmp_path: Path, shape: tuple[int, ...], kind: str
) -> None:
    read = normal(*shape, seed=4)
    low, high = f"{float(read[2].min()):.6g}", f"{float(read[2].max()):.6g}"
    assert held(tmp_path, SHAPED, read, kind) == f"'a' lies between {low} and {high} in that example"


@pytest.mark.parametrize("kind", ["MyNorm", "Activation"])  # an Activation may be a softmax
def test_of_an_unknown_layer_the_element_and_the_range_are_told(tmp_path: Path, kind: str) -> None:
    read = normal(6, 4, 3, seed=4)
    read[2, 3] = 0
    low, high = f"{float(read[2].min()):.6g}", f"{float(read[2].max()):.6g}"
    there, zeros = f"{float(read[2, 1, 2]):.6g}", "3 of 12 values are 0"
    text = f"'a' is {there} there and lies between {low} and {high} ({zeros}) in that example"
    assert held(tmp_path, SHAPED, read, kind) == text


def test_an_element_that_is_like_all_others_is_told_once(tmp_path: Path) -> None:
    assert held(tmp_path, SHAPED, np.ones((6, 4, 3)), "MyNorm") == "'a' is 1 everywhere in that example"


@pytest.mark.parametrize(
    ("read", "text"),
    [(np.zeros((6, 5), np.float32), "'a' is 0 everywhere in that example"),
     (np.full((6, 5), 3, np.int64), "'a' is 3 everywhere in that example"),
     (np.ones((6, 5), bool), "'a' is 1 everywhere in that example"),
     (np.full((6, 1), 2.5), "'a' is 2.5 in that example"),
     (np.full((6, 5), -INF), "'a' holds only Inf in that example"),
     (np.array(["x"] * 6, object), "'a' is clean"),
     (np.zeros((6, 0), np.float32), "'a' is empty in that example")],
)  # fmt: skip
def test_ranges_in_words(tmp_path: Path, read: np.ndarray, text: str) -> None:
    origin = SHAPED.copy()
    assert held(tmp_path, origin, read, "MaskedMean") == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(-0.0034, "-0.0034"), (0.0, "0"), (-0.0, "-0"), (1e-40, "1e-40"), (65504, "65504"), (123456789, "123456789"),
     (3e38, "3e+38"), (1 - 2**-24, "0.99999994"), (1 - 2**-40, "0.9999999999990905"), (0.1, "0.1"),
     (2.5e10, "2.5e+10")],
)  # fmt: skip
def test_numbers_are_short_and_not_rounded_to_what_they_are_not(tmp_path: Path, value: float, text: str) -> None:
    read = np.full((6, 4, 3), value)
    assert held(tmp_path, SHAPED, read, "Log") == f"'a' is {text} there"


def test_many_inputs_are_cut(tmp_path: Path) -> None:
    tensors = {f"a{n}": tensor(np.full((20, 2), n, np.float32), ["inputs/x"]) for n in range(6)}
    report = checked(tmp_path, {**tensors, "b": tensor(bad({3: NAN}), [*tensors], kind="Concatenate")})
    assert messages(report) == [
        "NaN starts in 'b' (Concatenate), example 3: its inputs 'a0' is 0 everywhere, 'a1' is 1 everywhere, "
        "'a2' is 2 everywhere and 'a3' is 3 everywhere in that example and 2 more (--json lists them)"
    ]
    assert len(report.origins[0].inputs) == 6


def test_infinities_that_storing_made_are_not_told(tmp_path: Path) -> None:
    read = np.full((6, 4, 3), INF, np.float16)
    further = {"stored_as": "float16", "dtype": "float32", "overflowed": read.size}
    assert held(tmp_path, SHAPED, read, "Log", **further) == "'a' is clean"


def test_a_tensor_by_batch_is_told_by_batch(tmp_path: Path) -> None:
    origin, read = np.zeros((2, 4), np.float32), normal(2, 5)
    origin[1, 3] = NAN
    tensors = {
        "a": tensor(read, ["inputs/x"], axis0="batch"),
        "b": tensor(origin, ["a"], kind="Dense", axis0="batch"),
    }
    low, high = f"{float(read[1].min()):.6g}", f"{float(read[1].max()):.6g}"
    text = f"NaN starts in 'b' (Dense), batch 1: its input 'a' lies between {low} and {high} in that batch"
    assert messages(checked(tmp_path, tensors)) == [text]


def statistics(**values: float) -> dict[str, Any]:
    """The attributes of a tensor (20, 3) of which only statistics were stored."""
    counts = {"count": 60, "nan": 0, "inf": 0, "zero": 0, "mean": 0.0, "std": 1.0, "l2": 1.0} | values
    return {"values": False, "computed_shape": [20, 3]} | {f"stat_{name}": value for name, value in counts.items()}


def test_statistics_tell_the_range_of_all_examples(tmp_path: Path) -> None:
    none = np.zeros((0, 3), np.float32)

    def entry(reads: list[str], kind: str, **stats: float) -> tuple[np.ndarray, dict[str, Any]]:
        return none, {"class": kind, "inputs": json.dumps(reads)} | statistics(**stats)

    report = checked(tmp_path, {
        "a": entry(["inputs/x"], "Dense", min=-3.25, max=4.0, zero=2),
        "b": entry(["a"], "Log", min=0.0, max=1.0, nan=4, inf=2),
        "c": entry(["b"], "Dense", min=0.0, max=1.0, nan=9),
    })  # fmt: skip
    assert messages(report) == [
        "NaN starts in 'b' (Log): its input 'a' lies between -3.25 and 4 (2 of 60 values are 0)",
        "Inf starts in 'b' (Log): its input 'a' lies between -3.25 and 4 (2 of 60 values are 0)",
    ]
    assert (report.origins[0].example, report.origins[0].inputs[0].region) == (None, "tensor")


def test_reduced_values_are_not_those_that_went_in(tmp_path: Path) -> None:
    tensors = {
        "a": tensor(GOOD, ["inputs/x"], reduce="mean:spatial"),
        "b": tensor(bad({3: NAN}), ["a"], kind="Log", reduce="mean:spatial"),
    }
    text = "NaN starts in 'b' (Log), example 3: its input 'a' is clean"
    assert messages(checked(tmp_path, tensors)) == [text]


def test_an_output_that_tells_what_it_reads_is_an_origin_of_its_own(tmp_path: Path) -> None:
    """Another branch is bad in the same example, and before it; `same` only hands on what is bad in that branch."""
    report = checked(tmp_path, {
        "branch": tensor(bad({3: NAN}), [], kind="Log"),
        "hidden": tensor(GOOD, [], kind="Dense"),
        "outputs/own": tensor(bad({3: NAN}), ["hidden"], kind="Functional"),
        "outputs/same": tensor(bad({3: NAN}), ["branch"], kind="Functional"),
    })  # fmt: skip
    assert [(one.tensor, one.example, one.certain) for one in report.origins] == [
        ("activations/branch", 3, True),
        ("outputs/own", 3, True),
    ]
    assert report.origins[1].message.startswith("NaN starts in 'outputs/own', example 3: its input 'hidden' ")
