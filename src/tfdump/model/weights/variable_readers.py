"""Which layer reads each variable of a SavedModel: as the graph of a signature tells, which is read as data."""

from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf

from tfdump.model.operations.owners import Owner
from tfdump.model.operations.scopes import Scopes
from tfdump.model.saved_model.inlining import CALLS, inlined
from tfdump.model.tensorflow_internals import function_def_to_graph_def
from tfdump.model.weights.graph_constants import layer_address

_MOST_OPERATIONS = 1_000_000
"""Operations of a graph whose function calls are replaced. A file of a stranger may call functions without end."""


def variable_readers(graph: Any, signature: str) -> dict[int, tuple[str, str]]:
    """Return the layer and the type of the operation that read each variable, by the number of its object.

    They are in the order of the graph (a `MetaGraphDef`), and none where the graph does not tell them.
    """
    objects, library = graph.object_graph_def, graph.graph_def.library
    name = _function_name(objects.nodes, signature)
    functions = {function.signature.name: function for function in library.function}
    if name not in objects.concrete_functions or name not in functions or _is_endless(name, functions):
        return {}
    bound = list(objects.concrete_functions[name].bound_inputs)
    arguments = [argument.name for argument in functions[name].signature.input_arg][-len(bound) :] if bound else []
    nodes = _nodes_of(functions[name], library, graph.graph_def.versions)
    variables = dict(zip(arguments, bound, strict=False))
    names = [str(objects.nodes[number].variable.name) for number in bound]
    known = frozenset(name.partition("/")[0] for name in names if "/" in name)
    scopes = Scopes([node.name for node in nodes if node.op != "Placeholder"], known)
    behind = _kinds_behind(nodes)
    readers: dict[int, tuple[str, str]] = {}
    for node in nodes:
        for read in node.input:
            number = variables.get(read)
            if number is None or number in readers:
                continue
            kinds = behind.get(node.name, []) if node.op == "ReadVariableOp" else [node.op]
            readers[number] = layer_address(Owner(scopes.place(node.name).layers)), next(iter(kinds), "")
    return readers


def _function_name(nodes: Sequence[Any], signature: str) -> str:
    """Return the name of the function of a signature in the library."""
    children = {child.local_name: child.node_id for child in nodes[0].children} if nodes else {}
    inner = nodes[children["signatures"]].children if "signatures" in children else ()
    place = next((child.node_id for child in inner if child.local_name == signature), None)
    if place is None:
        return ""
    if nodes[place].HasField("bare_concrete_function"):
        return str(nodes[place].bare_concrete_function.concrete_function_name)
    return next(iter(nodes[place].function.concrete_functions), "")


def _is_endless(name: str, functions: Mapping[str, Any]) -> bool:
    """Tell whether a function calls itself, or has too many operations with those of the functions that it calls."""
    sizes: dict[str, int] = {}
    open_calls: set[str] = set()
    waiting = [name]
    while waiting:
        current = waiting[-1]
        called = [n.attr["f"].func.name for n in functions[current].node_def if n.op in CALLS]
        called = [other for other in called if other in functions]
        missing = [other for other in dict.fromkeys(called) if other not in sizes]
        if current in sizes or not missing:
            waiting.pop()
            open_calls.discard(current)
            sizes[current] = len(functions[current].node_def) + sum(sizes[other] for other in called)
            if sizes[current] > _MOST_OPERATIONS:
                return True
            continue
        open_calls.add(current)
        if open_calls & set(missing):
            return True
        waiting.append(missing[0])
    return False


def _nodes_of(body: Any, library: Any, versions: Any) -> list[Any]:
    """Return the operations of a function with those of the functions that it calls; none if TensorFlow lacks one."""
    try:
        with tf.Graph().as_default():  # it learns the functions, and runs nothing
            tf.graph_util.import_graph_def(tf.compat.v1.GraphDef(library=library, versions=versions), name="")
            graph_def, _ = function_def_to_graph_def(body)
            graph_def.library.CopyFrom(library)
            return list(inlined(graph_def, 0).node)
    except (tf.errors.OpError, ValueError, LookupError, RecursionError):
        return []


def _kinds_behind(nodes: Sequence[Any]) -> Mapping[str, list[str]]:
    """Return the types of the operations that read each one."""
    behind: dict[str, list[str]] = {}
    for node in nodes:
        for read in node.input:
            behind.setdefault(read.removeprefix("^").partition(":")[0], []).append(node.op)
    return behind
