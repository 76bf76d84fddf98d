"""What layers and operations of SavedModels and TFLite files read, against Keras and against what is written here."""

import json
from collections.abc import Callable
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest

import tfdump as api
from support import flow_models
from support.command import Run
from support.flow_models import FUNCTIONAL, Branches, Repeated, Residual, called
from support.flows import Infos, between, flow, infos, leaks, loose_ends, shared
from support.saved_formats import exported, lite, saved

pytestmark = pytest.mark.tensorflow

SUBCLASSED = {"residual": (Residual, (2, 5)), "branches": (Branches, (2, 4)), "repeated": (Repeated, (2, 4))}

SHARED = {
    "two_inputs": (7, 4), "nested_twice": (7, 0), "blocks": (9, 1), "watched": (4, 1), "gate": (8, 1), "pair": (3, 1),
    "recurrent": (6, 5), "bidirectional": (4, 1), "attention": (9, 7), "masked": (4, 2), "image": (10, 8),
    "steps": (3, 3), "positions": (2, 1), "residual": (4, 3), "branches": (3, 2), "repeated": (2, 2),
}  # fmt: skip
"""How many addresses of each model a SavedModel and a TFLite file have as well, at least."""

OTHERWISE = {
    "masked": {"gru": {"emb", "inputs/tokens"}},  # the exporter computes the mask twice, and `not_equal` is the other
}
"""What layers of a SavedModel read otherwise than in Keras."""

FUSED = {"residual": {"second": {"inputs/args_0"}}}  # the relu behind `first` is fused into a second copy of `first`
"""What layers of a TFLite file read otherwise than in Keras, because operations were fused."""


@pytest.fixture(autouse=True)
def fresh() -> None:
    """Let the names that Keras numbers begin anew."""
    keras.utils.clear_session()


def differences(layers: Infos, others: Infos) -> dict[str, set[str] | None]:
    """What another format says that a layer reads, where Keras says something else of the addresses in both."""
    addresses = shared(layers, others)
    expected, got = between(flow(layers), addresses), between(flow(others), addresses)
    return {address: got[address] for address in addresses if got[address] != expected[address]}


def check_whole(items: Infos) -> None:
    """Every list is known, names what comes before, and the layers agree with the operations inside them."""
    assert [address for address, item in items.items() if item.inputs is None] == []
    assert loose_ends(items) == {}
    assert leaks(items) == {}


@pytest.mark.parametrize("build", FUNCTIONAL, ids=lambda build: build.__name__)
def test_layers_read_in_a_saved_model_what_they_read_in_keras(tmp_path: Path, build: Callable[[], keras.Model]) -> None:
    model = build()
    expected, got = infos(model), infos(exported(model, tmp_path / "m"))
    check_whole(got)
    assert len(shared(expected, got)) >= SHARED[build.__name__][0]
    assert differences(expected, got) == OTHERWISE.get(build.__name__, {})


@pytest.mark.parametrize("build", FUNCTIONAL, ids=lambda build: build.__name__)
def test_layers_read_in_a_tflite_file_what_they_read_in_keras(tmp_path: Path, build: Callable[[], keras.Model]) -> None:
    model = build()
    expected, got = infos(model), infos(lite(model, tmp_path / "m.tflite"))
    check_whole(got)
    assert len(shared(expected, got)) >= SHARED[build.__name__][1]
    assert differences(expected, got) == {}


@pytest.mark.parametrize("name", SUBCLASSED)
def test_subclassed_models_in_other_formats(tmp_path: Path, name: str) -> None:
    build, shape = SUBCLASSED[name]
    model = called(build(), *shape)
    expected = infos(model, np.ones(shape, "float32"))
    renamed = {"inputs/x": "inputs/args_0"}  # the name that `export` gives to the argument
    layers = {
        address: item.__class__(
            **{**vars(item), "inputs": tuple(renamed.get(name, name) for name in item.inputs or ())}
        )
        for address, item in expected.items()
    }
    graph, converted = infos(exported(model, tmp_path / "m")), infos(lite(model, tmp_path / "m.tflite"))
    for items, count, different in ((graph, SHARED[name][0], {}), (converted, SHARED[name][1], FUSED.get(name, {}))):
        check_whole(items)
        assert len(shared(layers, items)) >= count
        assert differences(layers, items) == different


@pytest.mark.parametrize("build", [flow_models.recurrent, flow_models.attention], ids=lambda build: build.__name__)
def test_a_model_that_tensorflow_saved(tmp_path: Path, build: Callable[[], keras.Model]) -> None:
    model = build()
    got = infos(saved(model, tmp_path / "m"))
    check_whole(got)
    names = {"inputs/x": "inputs/inputs", "inputs/y": "inputs/inputs_1"}
    expected = flow(infos(model))
    addresses = shared(infos(model), got)
    renamed = {a: None if r is None else tuple(names.get(name, name) for name in r) for a, r in expected.items()}
    assert between(flow(got), addresses) == between(renamed, addresses)


def test_composites_and_what_is_inside_of_them(tmp_path: Path) -> None:
    """Outside, the output of `inner.act` is that of `inner`; inside, `inner` has not returned yet."""
    got = infos(exported(flow_models.gate(), tmp_path / "m"))
    assert {address: (item.inputs, item.operands) for address, item in got.items() if ":op." not in address} == {
        "gate.inner.a": (("inputs/x",), ("gate.inner.a:op.BiasAdd",)),
        "gate.inner.b": (("gate.inner.a",), ("gate.inner.b:op.MatMul",)),
        "gate.inner.act": (("gate.inner:op.add",), ("gate.inner:op.add",)),
        "gate.inner": (("inputs/x",), ("gate.inner:op.add",)),
        "gate.aside": (("gate.inner",), ("gate.aside:op.MatMul",)),
        "gate.last": (("gate:op.mul",), ("gate.last:op.MatMul",)),
        "gate": (("inputs/x", "inputs/y", "inputs/scale"), ("gate.last", "gate:op.mul_1")),
        "out": (("gate",), ("out:op.MatMul",)),
    }
    assert got["gate.inner:op.add"].inputs == ("gate.inner:op.mul", "inputs/x")
    assert got["gate:op.mul"].inputs == ("gate.aside", "gate:op.Cast")
    assert {item.operands for address, item in got.items() if ":op." in address} == {None}


def test_a_layer_that_reads_the_output_of_the_layer_around_it(tmp_path: Path) -> None:
    got = infos(exported(flow_models.watched(), tmp_path / "m"))
    assert got["watched.aside"].inputs == ("watched.a",)
    assert got["out"].inputs == ("watched",)
    assert got["watched"].inputs == got["watched.a"].inputs == ("inputs/x",)


def test_branches_operations_with_several_outputs_and_shapes(tmp_path: Path) -> None:
    got = flow(infos(exported(called(Branches(), 2, 4), tmp_path / "m")))
    assert got["cond"] == ("greater", "a", "inputs/args_0")
    assert (got["split:0"], got["split:1"]) == (("b",), ("b",))
    assert got["concatenate"] == ("split:1", "split:0")
    assert got["zeros_like"] == ()
    assert got["multiply"] == ("a", "zeros_like")


def test_a_loop_reads_all_that_enters_it(tmp_path: Path) -> None:
    model = called(Repeated(), 2, 4)
    assert flow(infos(exported(model, tmp_path / "m")))["while"] == ("a", "inputs/args_0")
    converted = flow(infos(lite(model, tmp_path / "m.tflite")))
    assert {converted[name] for name in converted if name.startswith("while:op.while")} == {("a", "inputs/args_0")}


def test_files_and_tables_tell_it_for_other_formats(tmp_path: Path, tfdump: Run) -> None:
    model = flow_models.blocks()
    files = {"graph": exported(model, tmp_path / "graph"), "lite": lite(model, tmp_path / "m.tflite")}
    np.save(tmp_path / "x.npy", np.ones((2, 4), "float32"))
    for name, path in files.items():
        expected = infos(path)
        trust = ("--trust-model",) if name == "graph" else ()
        listed = json.loads(tfdump("layers", str(path), *trust, "--json").stdout)["items"]
        assert [(i["address"], tuple(i["inputs"]), i.get("operands")) for i in listed] == [
            (address, item.inputs, item.operands and list(item.operands)) for address, item in expected.items()
        ]
        assert tfdump("activations", str(path), "x.npy", *trust, "-o", f"{name}.h5").returncode == 0
        with h5py.File(tmp_path / f"{name}.h5") as file:
            for address, item in file["activations"].items():
                assert tuple(json.loads(item.attrs["inputs"])) == expected[address].inputs
                operands = item.attrs.get("operands")
                assert (operands and tuple(json.loads(operands))) == expected[address].operands
        with api.open(tmp_path / f"{name}.h5") as dump:
            assert dump["out"].operands == expected["out"].operands
            assert dump["out"].inputs == expected["out"].inputs
        shown = json.loads(tfdump("show", f"{name}.h5", "--json").stdout)["items"]
        assert {i["address"]: i.get("operands") for i in shown if i["group"] == "activations"} == {
            address: item.operands and list(item.operands) for address, item in expected.items()
        }
