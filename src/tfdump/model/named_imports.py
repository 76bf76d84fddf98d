"""What a model file names of the user's own modules: looked up, where need be by importing the module that it names."""

from collections.abc import Iterator, Mapping
from typing import Any

import keras

from tfdump.errors import ModelError
from tfdump.model.imported_code import UserCode, is_name_of_keras

_LONGEST_NAME = 200


def with_named_code(code: UserCode, config: Any, where: str) -> UserCode:
    """Return the user's code with what an architecture names of the modules below it.

    Only modules that `--import` covers are imported. Raises ModelError where one of them fails, and where two classes
    or functions of one name are meant, which Keras cannot tell apart.
    """
    if not code.modules:
        return code
    found: dict[str, Any] = {}
    for node in _objects(config):
        for key, value in _named(node, code, where):
            known = found.setdefault(key, value)
            if known is not value:
                raise _ambiguous(where, key, [known, value])
    return code.with_names(found)


def _objects(config: Any) -> Iterator[Mapping[str, Any]]:
    """Yield every JSON object, however deep."""
    waiting = [config]
    while waiting:
        node = waiting.pop()
        if isinstance(node, Mapping):
            yield node
        waiting.extend(node.values() if isinstance(node, Mapping) else node if isinstance(node, list) else ())


def _named(node: Mapping[str, Any], code: UserCode, where: str) -> Iterator[tuple[str, Any]]:
    """Yield what a JSON object names of the user's code, with the name by which Keras will look for it."""
    kind = node.get("class_name")
    if isinstance(kind, str):
        name = node.get("config") if kind == "function" else kind
        if isinstance(name, str):
            yield from _of_object(node, name, code, where)
    for value in node.values():  # a legacy file has a function by its name alone
        if isinstance(value, str) and len(value) <= _LONGEST_NAME:
            yield from _loaded(value, code, where)


def _of_object(node: Mapping[str, Any], name: str, code: UserCode, where: str) -> Iterator[tuple[str, Any]]:
    registered, module = node.get("registered_name"), node.get("module")
    key = registered if isinstance(registered, str) and registered.rpartition(">")[2] == name else name
    if keras.saving.get_registered_object(key) is not None:
        return
    value = code.member(module, name) if isinstance(module, str) else None
    if value is not None and keras.saving.get_registered_object(key) is None:  # the import may have registered it
        yield key, value


def _loaded(name: str, code: UserCode, where: str) -> Iterator[tuple[str, Any]]:
    """Yield what the modules below define under a name that nothing else has."""
    if name in code or is_name_of_keras(name) or keras.saving.get_registered_object(name) is not None:
        return
    found = code.loaded_members(name)
    if len(found) > 1:
        raise _ambiguous(where, name, found)
    if found:
        yield name, found[0]


def _ambiguous(where: str, name: str, found: list[Any]) -> ModelError:
    modules = " and ".join(sorted({str(getattr(value, "__module__", value)) for value in found}))
    return ModelError(
        f"{where} names '{name}', which {modules} define each, and Keras tells them apart by nothing but their names "
        "(give one of them a name of its own with @keras.saving.register_keras_serializable and save the model again)"
    )
