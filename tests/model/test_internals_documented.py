"""docs/keras-internals.md lists every private symbol of Keras and TensorFlow in the model package, and no other."""

import ast
import re
from pathlib import Path

import pytest

from support.command import ROOT

MODEL = ROOT / "src" / "tfdump" / "model"
PAGE = ROOT / "docs" / "keras-internals.md"
PART = {
    "keras_internals": "Keras",
    "any_backend_internals": "Keras on every backend",
    "tensorflow_internals": "TensorFlow",
    "tflite_internals": "TFLite",
}
ATTRIBUTES = "Private attributes"


def rows(page: str, part: str) -> dict[str, str]:
    """The rows of all tables below a heading of the second level, by the symbol in the first cell."""
    section = re.split(rf"^## {part}$", page, flags=re.MULTILINE)[1]
    section = re.split(r"^## ", section, flags=re.MULTILINE)[0]
    return {match[1]: match[0] for match in re.finditer(r"^\| `(\w+)` \|.*$", section, re.MULTILINE)}


def symbols(path: Path) -> dict[str, str]:
    """The names that a module of internals offers, with where they come from ("" for what it computes)."""
    names = {}
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            names |= {alias.asname: f"{node.module}.{alias.name}" for alias in node.names if alias.asname}
        elif isinstance(node, ast.Assign):
            names |= {ast.unparse(target): "" for target in node.targets}
    return {name: origin for name, origin in names.items() if not name.startswith("_")}


def private_attributes(source: str) -> set[str]:
    """Attributes that begin with one underscore, of other objects than the class itself has, asked for in any way."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) not in ("self", "cls", "sys", "os"):
            names.add(node.attr)
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("getattr", "hasattr", "replaced"):
            names |= {arg.value for arg in node.args[1:2] if isinstance(arg, ast.Constant)}
    return {name for name in names if re.match("_[a-z]", name)}


@pytest.mark.parametrize("module", PART)
def test_the_page_lists_the_symbols_of_the_module(module: str) -> None:
    assert set(rows(PAGE.read_text(), PART[module])) == set(symbols(MODEL / f"{module}.py"))


@pytest.mark.parametrize("module", PART)
def test_the_page_says_where_each_symbol_is(module: str) -> None:
    table = rows(PAGE.read_text(), PART[module])
    for name, origin in symbols(MODEL / f"{module}.py").items():
        assert origin in table[name]
        assert all(cell.strip() for cell in table[name].strip("|").split("|"))
        assert len(table[name].strip("|").split("|")) == 4


def test_the_page_lists_the_private_attributes() -> None:
    paths = [path for path in MODEL.rglob("*.py") if not path.stem.endswith("_internals")]
    sources = [path.read_text() for path in paths]
    listed = set(rows(PAGE.read_text(), ATTRIBUTES))
    assert set().union(*map(private_attributes, sources)) <= listed
    strings = {
        node.value
        for source in sources
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    assert listed <= strings.union(*map(private_attributes, sources))


def test_the_places_that_the_page_names_exist() -> None:
    for path in set(re.findall(r"`(model/[\w/]+\.py)`", PAGE.read_text())):
        assert (ROOT / "src" / "tfdump" / path).is_file(), path


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("model._layers", {"_layers"}),
        ("self._layers", set()),
        ("self._model._layers", {"_layers"}),
        ("getattr(model, '_layers', [])", {"_layers"}),
        ("hasattr(layer, '_a')", {"_a"}),
        ("replaced(nn, '_get', f)", {"_get"}),
        ("x.__init__, x.name", set()),
    ],
)
def test_the_search_for_private_attributes_finds_them(source: str, names: set[str]) -> None:
    assert private_attributes(source) == names


def test_a_missing_row_is_seen() -> None:
    page = (
        "## Keras\n\n| symbol | of |\n|---|---|\n| `a` | x |\n\n### More\n\n| `b` | y |\n\n## TFLite\n\n| `c` | z |\n"
    )
    assert set(rows(page, "Keras")) == {"a", "b"}
    assert set(rows(page, "TFLite")) == {"c"}
