"""The house of the design: imports flow one way, modules are small, heavy packages stay where they belong."""

import ast
from pathlib import Path

import pytest

from conftest import ROOT

SOURCE = ROOT / "src" / "tfdump"
MODULES = sorted(SOURCE.rglob("*.py"))

FLOORS = {
    "errors": 0, "supervision": 0, "interrupts": 0, "paths": 0, "tensors": 0, "dtypes": 0,
    "address": 0, "captures": 0, "batching": 0, "limits": 0, "machine": 0, "hdf5": 0, "text_memory": 0,
    "importing": 0, "requirements": 0, "example_axis": 0, "progress": 0, "byte_strings": 0, "lookup_gradients": 0,
    "dump": 1, "inputs": 1,
    "analysis": 2, "exports": 2, "model": 2,
    "pictures": 3, "sinks": 3, "gradient_sinks": 3, "gradient_store": 3, "supervised_source": 3,
    "tensor_kind": 3, "tensor_notes": 4,
    "batch_run": 4, "resuming": 4, "planning": 4, "pipeline": 4, "listing": 4, "writing": 4,
    "gradient_findings": 4, "gradient_planning": 4, "gradient_pass": 4, "gradient_weights": 4, "gradient_steps": 4,
    "gradient_options": 5, "activation_run": 5, "gradient_run": 5, "api_arguments": 5, "api": 6, "training": 6,
    "testing": 6, "cli": 7,
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


def test_only_the_command_line_prints() -> None:
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("print", "click.echo", "sys.stdout.write"):
                assert part_of(path) == "cli", path


def test_the_types_of_the_package_are_for_others_too() -> None:
    assert (SOURCE / "py.typed").read_text() == ""
