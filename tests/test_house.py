"""The house: imports flow one way, modules are small, heavy packages stay where they belong."""

import ast
import re
from pathlib import Path

import pytest

from support.command import ROOT
from support.modules import MODULES, SOURCE

FLOORS = {
    "captures": 0, "dtypes": 0, "errors": 0, "process": 0, "tensors": 0, "version": 0,
    "address": 1, "argument_kinds": 1, "byte_sizes": 1, "accumulators": 1,
    "files": 2,
    "dump": 3, "inputs": 3,
    "exports": 4, "model": 4, "statistics": 4,
    "comparison": 5, "checks": 5, "device_files": 5, "run": 5,
    "plots": 6, "quantization": 6, "side_by_side": 6,
    "report": 7, "workers": 7,
    "api": 8, "cli": 8,
    "cluster": 9, "testing": 9, "tfdump": 9,
    "__main__": 10,
}  # fmt: skip
"""The parts at the top of the package: each imports from floors below its own only."""


def part_of(module: str) -> str:
    """The part at the top of the package that a module belongs to; `tfdump` is the package's own first lines."""
    return module.split(".")[1] if "." in module else module


def imports_of(source: str, modules: dict[str, Path] = MODULES) -> set[str]:
    """The modules of tfdump that some code imports, in functions and for types too, whatever the form of the import."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names if alias.name.split(".")[0] == "tfdump"}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "tfdump":
            whole = [f"{node.module}.{alias.name}" for alias in node.names]
            names |= {name if name in modules else str(node.module) for name in whole}
    return names | {name for name in called_imports(source) if name and name.split(".")[0] == "tfdump"}


def called_imports(source: str) -> set[str | None]:
    """The modules that some code imports by a call; None for one whose name is computed."""
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    functions = [(call, getattr(call.func, "attr", getattr(call.func, "id", None))) for call in calls]
    importing = [call for call, name in functions if name in ("import_module", "__import__")]
    names = [call.args[0] if call.args else None for call in importing]
    return {str(name.value) if isinstance(name, ast.Constant) else None for name in names}


@pytest.fixture(scope="module")
def imports() -> dict[str, set[str]]:
    """What each module imports of the others."""
    return {name: imports_of(path.read_text()) for name, path in MODULES.items()}


@pytest.mark.parametrize(
    ("source", "imports"),
    [
        ("from tfdump.dump.reader import Dump", {"tfdump.dump.reader"}),
        ("from tfdump.dump import layout, reader", {"tfdump.dump.layout", "tfdump.dump.reader"}),
        ("from tfdump import errors", {"tfdump.errors"}),
        ("from tfdump import diff", {"tfdump"}),
        ("import tfdump", {"tfdump"}),
        ("import tfdump.dump.reader as reader", {"tfdump.dump.reader"}),
        ("def late():\n    import numpy\n    from tfdump.tensors import Array", {"tfdump.tensors"}),
        ("import importlib\nimportlib.import_module('tfdump.dump.reader')", {"tfdump.dump.reader"}),
        ("__import__('tfdump')", {"tfdump"}),
        ("from tfdumper import x\nimport numpy\n__import__('keras')", set()),
    ],
)
def test_every_form_of_import_is_seen(source: str, imports: set[str]) -> None:
    assert imports_of(source) == imports


COMPUTED = {
    "tfdump": "the public names, which import their modules at first use",
    "tfdump.cli.main": "the commands, of which only one is imported",
    "tfdump.model.loading.user_code": "the user's own modules",
}
"""The modules that compute the name of what they import, and what that is."""


def test_few_modules_compute_what_they_import() -> None:
    assert {name for name, path in MODULES.items() if None in called_imports(path.read_text())} == set(COMPUTED)


def test_no_import_is_relative() -> None:
    relative = [
        name
        for name, path in MODULES.items()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and node.level
    ]
    assert not relative


def test_the_floors_are_those_of_the_tree() -> None:
    assert {part_of(name) for name in MODULES} == set(FLOORS)


def test_imports_flow_one_way(imports: dict[str, set[str]]) -> None:
    for name in MODULES:
        others = {part_of(imported) for imported in imports[name]} - {part_of(name)}
        assert {other: FLOORS[other] for other in others if FLOORS[other] >= FLOORS[part_of(name)]} == {}, name


def circle_through(name: str, imports: dict[str, set[str]]) -> list[str] | None:
    """The shortest way from a module back to itself along imports, or None."""
    ways, visited = [[name]], set()
    for way in ways:
        for imported in sorted(imports.get(way[-1], ())):
            if imported == name:
                return [*way, name]
            if imported not in visited:
                visited.add(imported)
                ways.append([*way, imported])
    return None


def test_no_module_imports_itself_around_a_circle(imports: dict[str, set[str]]) -> None:
    assert [circle for name in MODULES if (circle := circle_through(name, imports))] == []


def test_a_circle_is_seen() -> None:
    imports = {"a": {"b", "d"}, "b": {"c"}, "c": {"a"}, "d": set()}
    assert circle_through("a", imports) == ["a", "b", "c", "a"]
    assert circle_through("d", imports) is None


def test_a_module_can_be_read_in_one_sitting() -> None:
    lines = {name: len(path.read_text().splitlines()) for name, path in MODULES.items()}
    assert {name: count for name, count in lines.items() if count > 300} == {}


@pytest.mark.parametrize("folder", sorted({path.parent for path in MODULES.values()}), ids=lambda folder: folder.name)
def test_a_folder_can_be_overlooked(folder: Path) -> None:
    assert len([path for path in folder.glob("*.py") if path.name != "__init__.py"]) <= 25


def test_no_folder_hides_a_public_function_or_names_a_library() -> None:
    folders = {path.parent.name for path in MODULES.values()}
    top = {part_of(name) for name in MODULES if name != "tfdump"}
    assert not folders & {"tensorflow", "keras"}
    assert not top & {"activations", "gradients", "layers", "diff", "check", "ranges", "weights", "compare"}


def typing_only(tree: ast.AST) -> set[int]:
    """The nodes that are read by type checkers alone."""
    return {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for statement in node.body
        for inner in ast.walk(statement)
    }


LEARNING = {
    "tensorflow",
    "keras",
    "keras_hub",
    "tf_keras",
    "tflite_runtime",
    "ai_edge_litert",
    "onnx",
    "onnxruntime",
    "jax",
    "torch",
}
"""The libraries of machine learning."""


def learning_libraries(source: str) -> set[str]:
    """The libraries of machine learning that some code imports when it runs, whatever the form of the import."""
    tree = ast.parse(source)
    for_types = typing_only(tree)
    modules = set()
    for node in ast.walk(tree):
        if id(node) in for_types:
            continue
        if isinstance(node, ast.ImportFrom):
            modules.add(node.module or "")
        elif isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
    modules |= {name for name in called_imports(source) if name}
    return {module.split(".")[0] for module in modules} & LEARNING


def test_only_the_model_package_names_tensorflow_or_keras() -> None:
    for name, path in MODULES.items():
        assert part_of(name) == "model" or learning_libraries(path.read_text()) == set(), name


@pytest.mark.parametrize(
    ("code", "libraries"),
    [
        ("def late():\n    from tensorflow.nn import relu", {"tensorflow"}),
        ("import numpy, keras.layers", {"keras"}),
        ("import importlib\nimportlib.import_module('keras.ops')", {"keras"}),
        ("if TYPE_CHECKING:\n    from keras import Layer", set()),
        ("if TYPE_CHECKING:\n    pass\nelse:\n    from keras import Layer", {"keras"}),
        ("from tfdump.model import keras_internals", set()),
    ],
)
def test_a_library_of_machine_learning_is_seen(code: str, libraries: set[str]) -> None:
    assert learning_libraries(code) == libraries


PRIVATE = re.compile(r"keras\.src\b|(tensorflow|tf)\.(python|core|lite\.python|compiler|__internal__|_api)\b")
"""Where Keras and TensorFlow keep what is not public."""


def private_names(path: Path) -> set[str]:
    """What a module takes of Keras and TensorFlow that is not public, or that is private to what it took."""
    private, internals = set(), set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            if (node.module or "").endswith("_internals"):
                internals |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.Attribute):
            names = [ast.unparse(node)]
            if re.match("_[^_]", node.attr) and ast.unparse(node.value) in internals:
                private.add(names[0])
        private |= {name for name in names if PRIVATE.match(name)}
    return private


def test_what_is_not_public_in_keras_and_tensorflow_is_named_in_one_place() -> None:
    for name, path in MODULES.items():
        assert not private_names(path) or (part_of(name) == "model" and name.endswith("_internals")), name


def test_each_of_these_names_is_used() -> None:
    internal = [path for path in MODULES.values() if path.stem.endswith("_internals")]
    used = "".join(path.read_text() for path in MODULES.values() if path not in internal)
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


def prints(source: str) -> bool:
    """Whether some code writes to stdout."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and re.fullmatch(r"print|(\w+\.)?s?echo", ast.unparse(node.func)):
            return True
        if isinstance(node, ast.Attribute) and ast.unparse(node) in ("sys.stdout", "sys.__stdout__"):
            return True
        if isinstance(node, ast.ImportFrom) and node.module == "sys" and "stdout" in {a.name for a in node.names}:
            return True
    return False


def test_only_the_command_line_prints() -> None:
    assert {part_of(name) for name, path in MODULES.items() if prints(path.read_text())} <= {"cli"}


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("print(1)", True),
        ("import click\nclick.secho('x')", True),
        ("import sys\nout = sys.stdout\nout.write('x')", True),
        ("from sys import stdout", True),
        ("import sys\nsys.stderr.write('x')\nnote(print)", False),
    ],
)
def test_what_prints_is_seen(code: str, expected: bool) -> None:
    assert prints(code) is expected


def test_the_types_of_the_package_are_for_others_too() -> None:
    assert (SOURCE / "py.typed").read_text() == ""


def names_in(path: Path) -> set[str]:
    """The names that the top level of a module defines or imports."""
    names: set[str] = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            names.add(node.name)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            names |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names |= {name.id for target in targets for name in ast.walk(target) if isinstance(name, ast.Name)}
    return names


@pytest.mark.parametrize("script", sorted((ROOT / "benchmarks").glob("*.py")), ids=lambda path: path.name)
def test_benchmarks_import_names_that_exist(script: Path) -> None:
    imports = [
        (str(node.module), alias.name)
        for node in ast.walk(ast.parse(script.read_text()))
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("tfdump.")
        for alias in node.names
    ]
    missing = [
        f"{module}.{name}"
        for module, name in imports
        if f"{module}.{name}" not in MODULES and (module not in MODULES or name not in names_in(MODULES[module]))
    ]
    assert not missing
