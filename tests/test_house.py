"""The house of the design: imports flow one way, modules are small, heavy packages stay where they belong."""

import ast
import re
from pathlib import Path

import pytest

from conftest import ROOT

SOURCE = ROOT / "src" / "tfdump"
MODULES = sorted(SOURCE.rglob("*.py"))

FLOORS = {
    "errors": 0, "argument_kinds": 0, "supervision": 0, "interrupts": 0, "paths": 0, "tensors": 0, "dtypes": 0,
    "address": 0, "captures": 0, "batching": 0, "limits": 0, "machine": 0, "hdf5": 0, "text_memory": 0,
    "importing": 0, "requirements": 0, "no_training": 0,
    "example_axis": 0, "progress": 0, "byte_strings": 0, "lookup_gradients": 0,
    "dump": 1, "inputs": 1,
    "analysis": 2, "exports": 2, "model": 2,
    "pictures": 3, "sinks": 3, "gradient_sinks": 3, "gradient_store": 3, "supervised_source": 3,
    "tensor_kind": 3, "tensor_notes": 4,
    "batch_run": 4, "resuming": 4, "first_looks": 3, "planning": 4, "pipeline": 4, "listing": 4, "writing": 4,
    "gradient_findings": 4, "gradient_planning": 4, "gradient_pass": 4, "gradient_weights": 4, "gradient_steps": 4,
    "gradient_options": 5, "activation_run": 5, "gradient_run": 5, "api_arguments": 5, "training_folder": 5,
    "api": 6, "training": 6, "testing": 6, "cli": 7,
}  # fmt: skip
"""A module imports from its own floor and from those below."""


def part_of(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def imports_of(path: Path) -> set[str]:
    """The parts of tfdump that a module imports, inside functions too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("tfdump."):
            found.add(node.module.split(".")[1])
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_imports_flow_one_way(path: Path) -> None:
    part = part_of(path)
    if part in ("__init__", "__main__", "entry"):
        return
    for imported in imports_of(path):
        assert FLOORS[imported] <= FLOORS[part], f"{part} imports {imported}"
        if FLOORS[imported] == FLOORS[part] and imported != part:
            assert part not in imports_of(SOURCE / f"{imported}.py") if (SOURCE / f"{imported}.py").exists() else True


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_a_module_can_be_read_in_one_sitting(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 300


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_only_the_model_package_names_tensorflow_or_keras(path: Path) -> None:
    tree = ast.parse(path.read_text())
    typing_only = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.ImportFrom) and id(node) not in typing_only:
            names = [node.module or ""]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        for name in names:
            if name.split(".")[0] in ("tensorflow", "keras"):
                assert part_of(path) == "model", name


PRIVATE = re.compile(r"keras\.src\b|(tensorflow|tf)\.(python|core|lite\.python|compiler|__internal__|_api)\b")
"""Where Keras and TensorFlow keep what is not public."""


def private_names(path: Path) -> set[str]:
    """What a module takes of Keras and TensorFlow that is not public, or that is private to what it took."""
    found, taken = set(), set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            if (node.module or "").endswith("_internals"):
                taken |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.Attribute):
            names = [ast.unparse(node)]
            if re.match("_[^_]", node.attr) and ast.unparse(node.value) in taken:
                found.add(names[0])
        found |= {name for name in names if PRIVATE.match(name)}
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_what_is_not_public_in_keras_and_tensorflow_is_named_in_one_place(path: Path) -> None:
    assert not private_names(path) or (part_of(path) == "model" and path.stem.endswith("_internals"))


def test_each_of_these_names_is_used() -> None:
    internal = [path for path in MODULES if path.stem.endswith("_internals")]
    used = "".join(path.read_text() for path in MODULES if path not in internal)
    for path in internal:
        assert private_names(path)
        names = []
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom):
                names += [alias.asname for alias in node.names if alias.asname]
            elif isinstance(node, ast.Assign):
                names += [ast.unparse(target) for target in node.targets]
        assert names
        assert not [name for name in names if not name.startswith("_") and not re.search(rf"\b{name}\b", used)]


@pytest.mark.parametrize(
    ("code", "names"),
    [
        ("from keras.src.models import Functional", {"keras.src.models.Functional"}),
        ("import keras.src.ops", {"keras.src.ops"}),
        ("import tensorflow as tf\nx = tf.__internal__.a", {"tf.__internal__", "tf.__internal__.a"}),
        ("from tfdump.model.keras_internals import nn as own\nown._get_logits()", {"own._get_logits"}),
        ("from keras import layers\nimport tensorflow as tf\ntf.nn.relu, layers._x", set()),
    ],
)
def test_the_search_for_private_names_finds_them(tmp_path: Path, code: str, names: set[str]) -> None:
    (tmp_path / "module.py").write_text(code)
    assert private_names(tmp_path / "module.py") == names


def test_only_the_command_line_prints() -> None:
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("print", "click.echo", "sys.stdout.write"):
                assert part_of(path) == "cli", path


def test_the_types_of_the_package_are_for_others_too() -> None:
    assert (SOURCE / "py.typed").read_text() == ""
