"""A signature of a SavedModel as one flat graph, in which the bodies of functions replace their calls.

Loops and branches keep their functions, because these run any number of times, or not at all.
"""

from collections.abc import Mapping
from typing import Any

from tensorflow.compat.v1 import GraphDef

from tfdump.model.tensorflow_internals import function_def_to_graph_def

CALLS = frozenset({"PartitionedCall", "StatefulPartitionedCall"})
"""Operations that call a function, which their attribute `f` names."""

_SEEDED = frozenset({"seed", "seed2"})


def inlined(graph_def: GraphDef, seed: int) -> GraphDef:
    """Return the graph with every function call replaced by the function's body, with the call's name as a prefix.

    Random operations that were saved without a seed get one that is derived from `seed`.
    """
    library = {function.signature.name: function for function in graph_def.library.function}
    flat = GraphDef(versions=graph_def.versions, library=graph_def.library)
    _Inliner(flat, library).add(graph_def, "", {})
    for number, node in enumerate(flat.node):
        node.device = ""
        node.attr.pop("_class", None)  # colocation with nodes that may be gone
        if set(node.attr) >= _SEEDED and not any(node.attr[name].i for name in _SEEDED):
            node.attr["seed"].i, node.attr["seed2"].i = seed, number + 1
    return flat


class _Inliner:
    """Copies graphs into `flat`, and replaces calls by the bodies of their functions."""

    def __init__(self, flat: GraphDef, library: Mapping[str, Any]) -> None:
        self._flat = flat
        self._library = library

    def add(
        self, graph_def: GraphDef, prefix: str, arguments: Mapping[str, str]
    ) -> tuple[dict[str, str], dict[str, list[str]]]:
        """Copy a graph whose placeholders are `arguments`.

        Returns the new names of renamed tensors, and the replacements of control dependencies on removed nodes. Names
        of tensors are `node` for output 0 and `node:1` for output 1, as in a GraphDef.
        """
        renamed = dict(arguments)
        after: dict[str, list[str]] = {}
        for node in graph_def.node:
            if node.name in arguments:
                after[node.name] = []
                continue
            inputs = self._inputs(node.input, prefix, renamed, after)
            if node.op in CALLS and node.attr["f"].func.name in self._library:
                self._add_call(node, prefix, inputs, renamed, after)
                continue
            copy = self._flat.node.add()
            copy.CopyFrom(node)
            copy.name = prefix + node.name
            del copy.input[:]
            copy.input.extend(inputs)
        return renamed, after

    def _add_call(
        self, node: Any, prefix: str, inputs: list[str], renamed: dict[str, str], after: dict[str, list[str]]
    ) -> None:
        function = self._library[node.attr["f"].func.name]
        body, flat_names = function_def_to_graph_def(function)
        values = [name for name in inputs if not name.startswith("^")]
        waits = [name for name in inputs if name.startswith("^")]
        names = [argument.name for argument in function.signature.input_arg]
        inside = f"{prefix}{node.name}/"
        first = len(self._flat.node)
        below, ended = self.add(body, inside, dict(zip(names, values, strict=True)))
        for added in self._flat.node[first:]:
            if not added.input:
                added.input.extend(waits)
        for number, argument in enumerate(function.signature.output_arg):
            result = _plain(flat_names[function.ret[argument.name]])
            own = node.name if number == 0 else f"{node.name}:{number}"
            renamed[own] = below.get(result, inside + result)
        after[node.name] = [
            wait for name in function.control_ret.values() for wait in ended.get(name, [f"^{inside}{name}"])
        ]

    @staticmethod
    def _inputs(names: Any, prefix: str, renamed: Mapping[str, str], after: Mapping[str, list[str]]) -> list[str]:
        inputs: list[str] = []
        for name in names:
            if name.startswith("^"):
                inputs += after.get(name[1:], [f"^{prefix}{name[1:]}"])
            else:
                plain = _plain(name)
                inputs.append(renamed.get(plain, prefix + plain))
        values = [name for name in inputs if not name.startswith("^")]
        return values + list(dict.fromkeys(name for name in inputs if name.startswith("^")))


def _plain(name: str) -> str:
    """Return the name of a tensor without the `:0` of output 0."""
    return name.removesuffix(":0")
