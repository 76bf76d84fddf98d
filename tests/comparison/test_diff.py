"""Dumps against dumps and against plain arrays: pairing, order, what is a difference, what is trouble."""

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import tfdump
from support.made_dumps import Tensor, comparison_in, make_dump
from tfdump.accumulators.statistics import ExactStatistics
from tfdump.comparison.verdict import DiffReport
from tfdump.dump.attributes import statistics_attributes
from tfdump.errors import DumpError, InputError, SelectionError, TfdumpError
from tfdump.tensors import Ragged, Sparse

A = np.linspace(-1, 1, 12, dtype=np.float32).reshape(4, 3)


def with_statistics(values: Any, keep: bool = False, **attributes: Any) -> Tensor:
    """A tensor as --stats (`keep`) or --stats-only stores it."""
    gathered = ExactStatistics()
    gathered.add(values)
    known = statistics_attributes(gathered.result()) | attributes
    if keep:
        return Tensor(values, **known)
    return Tensor(values[:0], values=False, computed_shape=np.array(values.shape), **known)


@pytest.fixture
def both(tmp_path: Path) -> Any:
    """Write two dumps and compare them."""
    return comparison_in(tmp_path)


def verdicts(report: DiffReport) -> dict[str, str]:
    return {tensor.shown_name: tensor.status for tensor in report.tensors}


def named(report: DiffReport) -> list[str]:
    return [tensor.shown_name for tensor in report.tensors]


# Pairing


def test_renamed_layers_are_paired_by_structure_and_outputs_by_position(both: Any) -> None:
    golden = {"dense_7": Tensor(A, structure="blocks.dense"), "dense_7@1": Tensor(A + 1, structure="blocks.dense@1"),
              "d:0": Tensor(A, structure="x"), "d:1": Tensor(A + 2, structure="x"),
              "outputs/a": A, "outputs/b": A + 5}  # fmt: skip
    new = {"dense_3": Tensor(A, structure="blocks.dense"), "dense_3@1": Tensor(A + 1, structure="blocks.dense@1"),
           "e:1": Tensor(A + 2, structure="x"), "e:0": Tensor(A, structure="x"),
           "outputs/p": A, "outputs/q": A + 5}  # fmt: skip
    report = both(golden, new)
    assert report.same
    assert {t.name: t.new_name for t in report.tensors}["activations/d:1"] == "activations/e:1"
    assert any("paired by structure: dense_7 = dense_3" in note for note in report.notes)
    assert any("paired by position: a = p, b = q" in note for note in report.notes)


def test_positions_in_a_list_pair_layers_of_one_class_only(both: Any) -> None:
    golden = {"a": A, "conv": Tensor(A, structure="layers.1", **{"class": "Conv2D"})}
    new = {"a": A, "extra": Tensor(A, structure="layers.1", **{"class": "ReLU"})}
    report = both(golden, new, pair="names")
    assert verdicts(report) == {"a": "same", "conv": "missing", "extra": "extra"}
    assert not report.same
    assert both(golden, new, allow_missing=True, pair="names").same


@pytest.mark.parametrize("kind", ["tsv", "json", "dict"])
def test_a_map_pairs_what_it_names_and_what_begins_with_it(both: Any, tmp_path: Path, kind: str) -> None:
    golden = {"enc.a": A, "enc.b:0": A + 1, "enc@1.a": A + 2, "logits": A + 3, "outputs/logits": A + 3}
    new = {"encoder.a": A, "encoder.b:0": A + 1, "encoder@1.a": A + 2, "l:op.MatMul": A + 3, "outputs/logits": A + 3}
    names = {"enc": "encoder", "logits": "l:op.MatMul"}
    path = tmp_path / f"map.{kind}"
    path.write_text(json.dumps(names) if kind == "json" else "# golden\tnew\n\nenc\tencoder\nlogits\tl:op.MatMul\n")
    assert both(golden, new, renamed=names if kind == "dict" else path).same


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("typo\tb", r"g.h5 has no tensor 'typo', which the map names"),
        ("a1\tbb", r"n.h5 has no tensor 'bb', which the map names; near: 'b"),
        ("a1 b1", r"line 1 is not two names with a tab"),
        ("a1\tb1\na1\tb2", r"line 2 maps 'a1' a second time"),
        ("a1\tb1\na2\tb1", r"the map pairs 'b1' of .* with two tensors"),
        ('{"a1": 3}', r"maps a name to something that is not a name"),
        ('{"a1"', r"is not a JSON object"),
    ],
)
def test_a_map_that_is_wrong_is_refused(both: Any, tmp_path: Path, text: str, complaint: str) -> None:
    (tmp_path / "map").write_text(text)
    with pytest.raises(InputError, match=complaint):
        both({"a1": A, "a2": A}, {"b1": A, "b2": A}, renamed=tmp_path / "map")


# Order, and the first that diverges


def test_the_first_diverging_layer_is_the_first_in_the_golden_order(both: Any) -> None:
    golden = {"outputs/y": A, "z": Tensor(A, order=0), "m": Tensor(A, order=1), "a": Tensor(A, order=2), "inputs/x": A}
    new = {"a": A + 1, "m": A + 1, "z": A, "outputs/y": A + 1, "inputs/x": A}
    report = both(golden, new)
    assert named(report) == ["inputs/x", "z", "m", "a", "outputs/y"]
    assert report.first is not None
    assert report.first.shown_name == "m"
    assert "3 of 5 tensors differ" in report.summary
    assert "first diverging layer: m (Dense): 12 of 12 elements, worst at [2, 0]: golden 0.0909" in report.summary


def test_a_gradient_diverges_first_where_the_backward_pass_began(both: Any) -> None:
    def tensors(broken: str) -> dict[str, Any]:
        names = {"activations/conv": "conv", "activations/dense": "dense", "weights/conv.kernel": "conv",
                 "weights/dense.kernel": "dense", "inputs/x": "x"}  # fmt: skip
        order = list(names).index(broken) if broken else 9
        return {f"gradients/{name}": Tensor(A + (order <= n), layer=layer, order=n % 2)
                for n, (name, layer) in enumerate(names.items())}  # fmt: skip

    root = {"kind": "gradients", "loss_value": 1}
    report = both(tensors(""), tensors("activations/conv"), ({**root, "loss": 1.0}, {**root, "loss": 1.0}))
    order = ("activations/dense", "weights/dense.kernel", "activations/conv", "weights/conv.kernel", "inputs/x")
    assert named(report) == ["loss", *(f"gradients/{name}" for name in order)]
    assert report.first is not None
    assert report.first.name == "gradients/activations/dense"
    assert both(tensors(""), tensors(""), ({**root, "loss": 1.0}, {**root, "loss": 1.1})).first.name == "loss"


def test_a_gradient_that_is_not_connected_on_one_side_differs(both: Any) -> None:
    roots = ({"kind": "gradients"}, {"kind": "gradients"})
    cut = Tensor(A[:0], connected=False)
    report = both({"gradients/weights/a": cut, "gradients/weights/b": cut},
                  {"gradients/weights/a": cut, "gradients/weights/b": A}, roots)  # fmt: skip
    assert verdicts(report) == {"gradients/weights/b": "differs", "gradients/weights/a": "same"}
    assert "no gradient in the golden side" in report.summary


def test_norms_are_compared_with_the_norms_of_whole_gradients(both: Any) -> None:
    roots = ({"kind": "gradients"}, {"kind": "gradients"})
    norm = float(np.linalg.norm(A))
    whole = {"gradients/weights/a": Tensor(A, norm=norm)}
    report = both({"gradients/weights/a": Tensor(np.float32(norm), norm=norm, reduce="norm")}, whole, roots)
    assert report.same
    assert report.tensors[0].compared_by == "norms"
    off = {"gradients/weights/a": Tensor(np.float32(norm), norm=norm * 1.01, reduce="norm")}
    assert not both(off, whole, roots).same
    assert both(off, {"gradients/weights/a": off["gradients/weights/a"]}, roots).tensors[0].compared_by == "values"


# What is a difference


def test_shapes_kinds_and_encodings_differ_with_both_named(both: Any) -> None:
    sparse = Tensor({"values": A[:2, 0], "indices": [[0], [3]]}, encoding="sparse", dense_shape=[4])
    golden = {"shape": A, "axis": Tensor(A[:1], axis0="none"), "kind": A, "half": A, "code": A[:, 0], "text": ["a"]}
    new = {"shape": A.T, "axis": Tensor(A, axis0="batch"), "kind": np.arange(12).reshape(4, 3),
           "half": A.astype(np.float16), "code": sparse, "text": ["b"]}  # fmt: skip
    reasons = {t.shown_name: t.reason for t in both(golden, new).tensors}
    assert reasons["shape"] == "shape (3, 4), golden has (4, 3)"
    assert reasons["axis"].endswith("(first axis: batch, golden none)")
    assert reasons["kind"] == "integers (int64), golden has floats (float32)"
    assert reasons["half"] == ""  # the row of float16
    assert reasons["code"] == "stored as sparse, golden as an array"
    assert reasons["text"] == "1 of 1 elements, worst at [0]: golden 'a', new 'b'"
    assert both({"half": A}, {"half": A.astype(np.float16)}, exact=True).first.reason.startswith("dtype float16")


@pytest.mark.parametrize(
    ("old", "new", "bound"),
    [
        ({}, {}, 1.1e-4),
        ({"dtype": "bfloat16", "stored_as": "float32"}, {}, 8e-2),
        ({}, {"dtype": "float16", "stored_as": "float32"}, 1.5e-2),
        ({"dtype": "float64", "stored_as": "float32"}, {"dtype": "float64"}, 1.1e-4),
    ],
)
def test_the_coarsest_dtype_of_the_model_and_of_the_file_chooses_the_row(
    both: Any, old: Any, new: Any, bound: float
) -> None:
    """At the largest value, 1, the bound is rtol + scale."""
    for step, same in ((0.99, True), (1.01, False)):
        assert both({"a": Tensor(A, **old)}, {"a": Tensor(A * np.float32(1 + bound * step), **new)}).same is same


def test_composites_are_compared_part_by_part(both: Any) -> None:
    def ragged(splits: list[int], last: float) -> Tensor:
        return Tensor({"values": np.array([1, 2, last], "f4"), "row_splits": splits}, encoding="ragged")

    def sparse(index: int, last: float) -> Tensor:
        return Tensor({"values": np.array([1, last], "f4"), "indices": [[0, 1], [3, index]]}, encoding="sparse",
                      dense_shape=[4, 3])  # fmt: skip

    def stack(last: float) -> Tensor:
        return Tensor({"0": np.array([1000.0], "f4"), "1": np.array([1, last], "f4")}, encoding="stack", axis0="batch")

    golden = {"r": ragged([0, 1, 3], 3), "s": sparse(2, 3), "t": stack(2)}
    assert both(golden, golden, exact=True).same
    off = both(golden, {"r": ragged([0, 2, 3], 3), "s": sparse(1, 3), "t": stack(2.005)})
    reasons = [tensor.reason for tensor in off.tensors]
    assert reasons[0] == "part 'row_splits': 1 of 3 elements, worst at [1]: golden 1, new 2"
    assert reasons[1] == "part 'indices': 1 of 4 elements, worst at [1, 1]: golden 2, new 1"
    assert off.tensors[2].status == "same"  # 1e-5 of the 1000 in the other part of the stack
    off = both(golden, {"r": ragged([0, 1, 3], 4), "s": sparse(2, 4), "t": stack(2.1)})
    assert [tensor.comparison.part for tensor in off.tensors] == ["values", "values", "1"]
    longer = Tensor({"values": np.ones(4, "f4"), "row_splits": [0, 1, 4]}, encoding="ragged")
    assert "part 'values' has the shape (4,), golden (3,)" in both({"r": golden["r"]}, {"r": longer}).summary


def test_tolerances_by_glob_and_the_last_one_wins(both: Any) -> None:
    golden, new = {"a": A, "b": A, "n": np.array([5, 6])}, {"a": A + 0.1, "b": A, "n": np.array([6, 6])}
    assert verdicts(both(golden, new, atol=0.2)) == {"a": "same", "b": "same", "n": "differs"}
    assert both(golden, new, atol={"*": 1}).same
    assert verdicts(both(golden, new, atol={"*": 1, "a": 0.05})) == {"a": "differs", "b": "same", "n": "same"}
    with pytest.raises(SelectionError, match=r"a tolerance names 'c', which no tensor matches"):
        both(golden, new, rtol={"c": 1})
    for value in (-1, np.nan, np.inf):
        with pytest.raises(TfdumpError, match="is not a number of at least 0"):
            both(golden, new, rtol=value)


def test_what_is_ignored_or_not_chosen(both: Any) -> None:
    golden, new = {"a": A, "b": A, "c": A}, {"a": A + 1, "b": A, "c": A + 1}
    report = both(golden, new, ignore=["a", "type:Dense"][:1], exclude="c")
    assert verdicts(report) == {"a": "ignored", "b": "same"}
    assert report.same
    assert named(both(golden, new, layers="b")) == ["b"]
    with pytest.raises(SelectionError, match=r"no layer matches 'd'"):
        both(golden, new, layers="d")
    with pytest.raises(DumpError, match=r"nothing to compare"):
        both(golden, new, ignore="*")
    with pytest.raises(SelectionError, match=r"--ignore names 'x'"):
        both(golden, new, ignore="x")
    assert named(both({"y": A, "outputs/y": A}, {"y": A, "outputs/y": A}, layers="outputs/*")) == ["outputs/y"]


def test_attributes_count_when_asked_for(both: Any) -> None:
    golden = {"a": Tensor(A, scale=0.5, order=3, stat_min=1.0)}
    new = {"a": Tensor(A, scale=0.25, order=4, stat_min=2.0, **{"class": "Other"})}
    assert both(golden, new).same
    report = both(golden, new, check_attrs=True)
    assert report.first.reason == "attributes differ: class 'Other', golden 'Dense'; scale 0.25, golden 0.5"


def test_criteria(both: Any) -> None:
    golden, new = {"a": A, "n": np.arange(4)}, {"a": np.nextafter(A, 2), "n": np.arange(4)}
    assert both(golden, new, max_ulp=1).same
    report = both(golden, {**new, "a": np.nextafter(new["a"], 2)}, max_ulp=1)
    assert "2 ulp apart (--max-ulp 2 would have passed)" in report.summary
    assert not both(golden, new, exact=True).same
    assert both(golden, {"a": A * 3, "n": np.arange(4)}, min_cosine=0.999).same
    assert not both(golden, {"a": A * 3, "n": np.arange(4)}, min_cosine=0.999, scale=0.1).same
    assert "cosine -1 is below 0.5" in both(golden, {"a": -A, "n": np.arange(4)}, min_cosine=0.5).summary
    assert not both(golden, {"a": A, "n": np.arange(4) + 1}, min_cosine=0.5).same
    with pytest.raises(TfdumpError, match="exact and tolerances cannot be combined"):
        both(golden, new, exact=True, rtol=1)
    with pytest.raises(TfdumpError, match="min-cosine 2 is not between"):
        both(golden, new, min_cosine=2)


# Statistics


def test_a_golden_of_statistics_against_values_with_and_without_statistics(both: Any) -> None:
    golden = {"a": with_statistics(A)}
    for new in (A, with_statistics(A, keep=True), with_statistics(A)):
        report = both(golden, {"a": new})
        assert report.same
        assert report.tensors[0].compared_by == "statistics"
        assert report.notes == ("compared by their statistics, because one side has no values: 1 of 1 tensors",)
        assert both({"a": new}, golden).same
    off = A.copy()
    off[1, 1] = 7
    report = both(golden, {"a": off})
    assert "by its statistics: max 7.0, golden 1.0" in report.summary
    off[1, 1] = np.nan
    assert "by its statistics: nan 1, golden 0" in both(golden, {"a": off}).summary
    assert "shape (2, 3), golden has (4, 3)" in both(golden, {"a": A[:2]}).summary
    with pytest.raises(DumpError, match="so ulps cannot be compared"):
        both(golden, {"a": A}, max_ulp=1)
    with pytest.raises(DumpError, match="so a cosine cannot be compared"):
        both(golden, {"a": A}, min_cosine=0.5, rtol=1)


@pytest.mark.parametrize("seed", range(30))
def test_what_passes_by_its_values_passes_by_its_statistics(both: Any, seed: int) -> None:
    """Every element moved to the edge of its bound, all one way or at random."""
    random = np.random.default_rng(seed)
    golden = random.standard_normal((5, 7)) * 10.0 ** random.integers(-3, 4) + random.integers(-2, 3)
    rtol, scale = 10.0 ** random.integers(-4, 0), 10.0 ** random.integers(-5, 0)
    edge = rtol * np.abs(golden) + scale * np.abs(golden).max()
    signs = [np.ones_like(golden), np.sign(golden), -np.sign(golden), random.choice([-1, 1], golden.shape)][seed % 4]
    new = golden + signs * edge * (1 - 1e-9)
    options = {"rtol": rtol, "scale": scale}
    assert both({"a": golden}, {"a": new}, **options).same
    assert both({"a": with_statistics(golden)}, {"a": new}, **options).same
    assert not both(
        {"a": with_statistics(golden)}, {"a": golden + 9 * edge.max() + 9 * abs(golden).max()}, **options
    ).same


def test_integers_by_their_statistics_are_exact_and_count_zeros(both: Any) -> None:
    values = np.array([[3, 0], [1, -3]])
    golden = {"a": with_statistics(values)}
    assert both(golden, {"a": values[::-1].copy()}).same
    assert not both(golden, {"a": np.array([[3, 1], [0, -2]])}).same
    assert "zero 0, golden 1" in both(golden, {"a": np.array([[3, 1], [1, -3]])}).summary


def test_statistics_without_a_finite_value_are_compared_by_their_counts(both: Any) -> None:
    """Also with dumps of earlier versions, whose l2 was 0 and whose range was NaN."""
    nan, minus = np.full((4, 3), np.nan, np.float32), np.full((4, 3), -np.inf, np.float32)
    for values in (nan, minus):
        new = with_statistics(values)
        earlier = with_statistics(
            values, stat_l2=np.float64(0), stat_min=np.float64(np.nan), stat_max=np.float64(np.nan)
        )
        for golden in (new, earlier):
            for other in (new, values):
                assert both({"a": golden}, {"a": other}).same
                assert both({"a": other}, {"a": golden}).same
    assert not both({"a": with_statistics(nan)}, {"a": with_statistics(minus)}).same
    assert not both({"a": with_statistics(minus)}, {"a": with_statistics(-minus)}).same
    assert not both({"a": with_statistics(minus)}, {"a": with_statistics(A)}).same
    assert not both({"a": with_statistics(A)}, {"a": with_statistics(minus)}).same


def test_text_without_values_cannot_be_compared(both: Any) -> None:
    text = Tensor(np.array([], object), dtype="string", values=False, computed_shape=[1])
    report = both({"t": text, "a": A}, {"t": ["x"], "a": A})
    assert verdicts(report) == {"t": "skipped", "a": "same"}
    with pytest.raises(DumpError, match="nothing to compare"):
        both({"t": text}, {"t": ["x"]})


# Dumps that answer different questions


@pytest.mark.parametrize(
    ("name", "old", "new", "words"),
    [
        ("examples", 4, 5, r"different numbers of examples \(examples: 4 and 5\)"),
        ("first_example", 0, 8, "start at different examples"),
        ("kind", "activations", "gradients", "hold different things"),
        ("model_sha256", "a", "b", ""),
        ("steps", None, 3, "different numbers of steps"),
    ],
)
def test_different_questions_are_trouble(both: Any, name: str, old: Any, new: Any, words: str) -> None:
    roots = tuple({name: value} if value is not None else {} for value in (old, new))
    if not words:
        assert both({"a": A}, {"a": A}, roots).same
        return
    with pytest.raises(DumpError, match=words):
        both({"a": A}, {"a": A}, roots)


def test_a_reduction_on_one_side_is_trouble_and_how_a_dump_was_made_is_a_note(both: Any) -> None:
    with pytest.raises(DumpError, match=r"'activations/a' was dumped with --reduce mean in one file and no --reduce"):
        both({"a": Tensor(A, reduce="mean")}, {"a": A})
    report = both({"a": A}, {"a": A}, ({"training": True, "seed": 1}, {"tensorflow_version": "2.22.0"}))
    assert report.notes == ("made differently: training True, False; tensorflow_version 2.21.0, 2.22.0; seed 1, 0",)
    assert both({"a": A}, {"a": A}, ({"batch_size": 2}, {"batch_size": 4})).notes == ()


def test_a_dump_of_nothing_is_trouble(both: Any) -> None:
    with pytest.raises(DumpError, match=r"n\.h5 holds no tensors"):
        both({"a": A}, {})
    with pytest.raises(DumpError, match=r"no name of .*g\.h5 \('activations/a', ...\) is one of .*; --map"):
        both({"a": A}, {"b": A[::-1]}, allow_missing=True)


def test_a_file_that_is_written_to_meanwhile_is_trouble(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other side is opened between the two looks at the first; there it grows."""
    from tfdump.comparison import diff

    golden, new = make_dump(tmp_path / "g.h5", {"a": A}), make_dump(tmp_path / "n.h5", {"a": A})
    real = diff.open_side

    def touch(source: Any) -> Any:
        side = real(source)
        if source == new:
            with golden.open("ab") as file:
                file.write(b"\0")
        return side

    monkeypatch.setattr(diff, "open_side", touch)
    with pytest.raises(DumpError, match=r"g\.h5 changed while it was being read"):
        tfdump.diff(golden, new)


# Plain arrays


def test_plain_references_of_every_kind(tmp_path: Path) -> None:
    golden = make_dump(tmp_path / "g.h5", {"block.a": A, "b": A + 1, "outputs/b": A + 1})
    np.savez(tmp_path / "r.npz", **{"block.a": A, "b": A + 1})
    np.savez_compressed(tmp_path / "c.npz", **{"block.a": A.astype(float), "b": np.asfortranarray(A + 1)})
    with h5py.File(tmp_path / "r.h5", "w") as file:
        file["block/a"], file["activations/b"], file["outputs/b"] = A, A + 1, A + 1
        file["again"] = file["block"]  # a hard link
        file["block/loop"] = file["block"]
        file["away"] = h5py.ExternalLink("secret.h5", "/x")
    np.save(tmp_path / "b.npy", A + 1)
    for name in ("r.npz", "c.npz"):
        assert tfdump.diff(golden, tmp_path / name).same
        assert tfdump.diff(tmp_path / name, golden).same
    report = tfdump.diff(golden, tmp_path / "r.h5", allow_missing=True)
    assert verdicts(report) == {"block.a": "same", "b": "same", "outputs/b": "same", "again/a": "extra"}
    assert tfdump.diff(golden, tmp_path / "b.npy", layers="b").same
    assert tfdump.diff(golden, {"block.a": A, "b": A + 1}).same
    assert not tfdump.diff(golden, {"block.a": A, "b": A + 2}).same
    np.save(tmp_path / "other.npy", A + 1)
    assert tfdump.diff(tmp_path / "b.npy", tmp_path / "other.npy").same  # the only ones
    with tfdump.open(golden) as dump:
        assert tfdump.diff(dump, golden).same


def test_what_a_plain_file_has_and_cannot_be_compared_is_said(tmp_path: Path) -> None:
    for name in ("g.h5", "n.h5"):
        with h5py.File(tmp_path / name, "w") as file:
            file["x"], file["empty"], file["same"] = A, h5py.Empty("f4"), h5py.SoftLink("/x")
            file.create_group("deep")["type"] = np.dtype("f4")
            file["deep"].create_dataset("lists", (2,), dtype=h5py.vlen_dtype("f4"))
    report = tfdump.diff(tmp_path / "g.h5", tmp_path / "n.h5")
    assert verdicts(report) == {"x": "same"}
    notes = [note for note in report.notes if note.startswith("not compared")]
    for note, name in zip(notes, ("g.h5", "n.h5"), strict=True):
        assert name in note
        assert note.endswith("deep/lists (lists or references), deep/type (a type), empty (empty), same (a link)")


def test_composites_in_memory(tmp_path: Path) -> None:
    values = np.array([1, 2, 3], "f4")
    golden = make_dump(
        tmp_path / "g.h5",
        {
            "r": Tensor({"values": values, "row_splits": [0, 1, 3]}, encoding="ragged"),
            "s": Tensor({"values": values[:1], "indices": [[2]]}, encoding="sparse", dense_shape=[4]),
            "t": Tensor({"0": values, "1": values[:1]}, encoding="stack"),
        },
    )
    same = {"r": Ragged(values, (np.array([0, 1, 3]),)), "s": Sparse(values[:1], np.array([[2]]), (4,)),
            "t": [values, values[:1]]}  # fmt: skip
    assert tfdump.diff(golden, same).same
    assert not tfdump.diff(golden, same | {"r": Ragged(values, (np.array([0, 2, 3]),))}).same
    assert not tfdump.diff(golden, same | {"s": Sparse(values[:1], np.array([[2]]), (5,))}).same


def test_channels_first_references_are_turned(tmp_path: Path) -> None:
    images = np.random.default_rng(0).random((3, 5, 6, 2)).astype("f4")
    golden = make_dump(tmp_path / "g.h5", {"conv": images, "dense": A})
    plain = {"conv": images.transpose(0, 3, 1, 2), "dense": A}
    assert not tfdump.diff(golden, plain).same
    assert tfdump.diff(golden, plain, transpose="*=0,2,3,1").same
    assert tfdump.diff(plain, golden, transpose="conv=0,2,3,1").same
    np.savez(tmp_path / "p.npz", **plain)
    assert tfdump.diff(golden, tmp_path / "p.npz", transpose="0,2,3,1").same
    report = tfdump.diff(
        golden, {**plain, "conv": plain["conv"] + (np.arange(2) == 1)[None, :, None, None]}, transpose="0,2,3,1"
    )
    assert report.first.comparison.index[3] == 1
    for text in ("conv=0,1,1,2", "conv=a", "conv="):
        with pytest.raises(InputError, match="is not an order of axes"):
            tfdump.diff(golden, plain, transpose=text)
    with pytest.raises(SelectionError, match=r"--transpose names 'dense', which no tensor of 4 axes"):
        tfdump.diff(golden, plain, transpose="dense=0,2,3,1")


def test_an_archive_of_objects_and_a_structured_array_are_refused(tmp_path: Path) -> None:
    golden = make_dump(tmp_path / "g.h5", {"a": A})
    np.savez(tmp_path / "o.npz", a=np.array([{}], object))
    with pytest.raises(InputError, match="pickled"):
        tfdump.diff(golden, tmp_path / "o.npz")
    np.save(tmp_path / "a.npy", np.zeros(2, [("x", "f4")]))
    assert "void32 (void32), golden has floats" in tfdump.diff(golden, tmp_path / "a.npy").summary
    with pytest.raises(InputError, match="neither numbers nor text"):
        tfdump.diff(tmp_path / "a.npy", tmp_path / "a.npy")
