"""The names in the code: each says what a thing is, and means one thing."""

import ast
import io
import re
import tokenize

from support.modules import MODULES


def public_definitions(source: str) -> set[str]:
    """The public classes, functions, and names of types at the top of a module, in its branches too."""
    names, waiting = set(), list(ast.parse(source).body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            names.add(node.name)
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names |= {ast.unparse(target) for target in targets if re.fullmatch("[A-Z]+[a-z]\\w*", ast.unparse(target))}
        else:
            waiting += [inner for inner in ast.iter_child_nodes(node) if isinstance(inner, ast.stmt)]
    return {name for name in names if name[0] != "_"}


SHARED = {
    "command": "tfdump.cli.commands.",
    "DumpCallback": "tfdump.api.",
    "activations": "tfdump.cluster",
    "gradients": "tfdump.cluster",
}
"""Names that modules of these packages share with others: the body of a command, the stand-in where Keras is missing,
and the functions that do the same on a cluster."""


def test_no_two_modules_define_one_public_name() -> None:
    homes: dict[str, list[str]] = {}
    for name, path in MODULES.items():
        for definition in public_definitions(path.read_text()):
            if not name.startswith(SHARED.get(definition, "-")):
                homes.setdefault(definition, []).append(name)
    assert {definition: modules for definition, modules in homes.items() if len(modules) > 1} == {}


def test_a_public_name_that_two_modules_define_is_seen() -> None:
    code = "class View: ...\ndef _own(): ...\ndef draw():\n    def inner(): ..."
    assert public_definitions(code) == {"View", "draw"}
    assert public_definitions("Row = tuple[int, ...]\nMOST = 3\nx: int = 1") == {"Row"}
    assert public_definitions("if True:\n    class One: ...\nelse:\n    Two = TypeVar('Two')") == {"One", "Two"}


WITHOUT_A_NOUN = {"found", "given", "chosen", "kept", "keeping", "keeps", "taken", "seen", "said"}
"""Participles and verbs that do not say what a thing is."""


def words_without_a_noun(source: str) -> set[str]:
    """The identifiers in some code that are such a word and nothing else, whatever underscores surround it."""
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    identifiers = {token.string for token in tokens if token.type == tokenize.NAME}
    return {name for name in identifiers if name.strip("_").casefold() in WITHOUT_A_NOUN}


def test_names_say_what_a_thing_is() -> None:
    words = {name: words_without_a_noun(path.read_text()) for name, path in MODULES.items()}
    assert {name: without for name, without in words.items() if without} == {}


def test_a_name_that_says_nothing_is_seen() -> None:
    code = "class Kept:\n    def _found(self, given):\n        self.seen, names_found = given, 'said'"
    assert words_without_a_noun(code) == {"Kept", "_found", "given", "seen"}
    code = "import numpy as taken\ntry:\n    call(chosen=1)\nexcept OSError as said: ..."
    assert words_without_a_noun(code) == {"taken", "chosen", "said"}
