"""The code of the user's own modules that a model file names; modules that it names are imported if needed."""

from collections.abc import Iterator, Mapping
from typing import Any

import keras

from tfdump.errors import ModelError
from tfdump.model.loading.user_code import UserCode, is_keras_name


def with_named_code(code: UserCode, config: Any, where: str) -> UserCode:
    """Return the user's code, extended by what an architecture names of the modules below it.

    Only modules that `--import` covers are imported. Raises ModelError where one of them fails, and where a file names
    two classes or functions of one name, which Keras cannot distinguish.
    """
    if not code.modules:
        return code
    code_by_name: dict[str, Any] = {}
    for node in _objects(config):
        for key, value in _of_object(node, code):
            known = code_by_name.setdefault(key, value)
            if known is not value:
                raise _ambiguous(where, key, [known, value])
    loaded = code.loaded_members()  # after the modules that the file names were imported
    names = {name for node in _objects(config) for name in _bare_names(node)}
    class_names = {name for node in _objects(config) if (name := _name_of(node)) is not None}
    for name in sorted(names - code_by_name.keys()):
        values = loaded.get(name, []) if _is_free(name, code) else []
        if len(values) > 1 and name in class_names:
            raise _ambiguous(where, name, values)
        if len(values) == 1:
            code_by_name[name] = values[0]
    return code.with_names(code_by_name)


def _objects(config: Any) -> Iterator[Mapping[str, Any]]:
    """Yield every JSON object at any depth."""
    waiting = [config]
    while waiting:
        node = waiting.pop()
        if isinstance(node, Mapping):
            yield node
        waiting.extend(node.values() if isinstance(node, Mapping) else node if isinstance(node, list) else ())


def _bare_names(node: Mapping[str, Any]) -> Iterator[str]:
    """Yield the strings that may name a class or function; a legacy file has only the name of a function."""
    yield from (value for value in node.values() if isinstance(value, str) and value.isidentifier())


def _of_object(node: Mapping[str, Any], code: UserCode) -> Iterator[tuple[str, Any]]:
    """Yield the class or function that an object with a module names, after the name by which Keras looks it up."""
    name, module, registered = _name_of(node), node.get("module"), node.get("registered_name")
    if name is None or not isinstance(module, str):
        return
    key = registered if isinstance(registered, str) and registered.rpartition(">")[2] == name else name
    if keras.saving.get_registered_object(key) is not None:
        return
    value = code.member(module, name)
    if value is not None and keras.saving.get_registered_object(key) is None:  # the import may have registered it
        yield key, value


def _name_of(node: Mapping[str, Any]) -> str | None:
    """Return the name of the class or function of a serialized object, None for other nodes."""
    kind = node.get("class_name")
    name = node.get("config") if kind == "function" else kind
    return name if isinstance(name, str) else None


def _is_free(name: str, code: UserCode) -> bool:
    """Tell whether nothing of Keras or of the user has this name."""
    return not (name in code or is_keras_name(name) or keras.saving.get_registered_object(name) is not None)


def _ambiguous(where: str, name: str, values: list[Any]) -> ModelError:
    modules = " and ".join(sorted({str(getattr(value, "__module__", value)) for value in values}))
    return ModelError(
        f"{where} names '{name}', which {modules} both define, and Keras distinguishes them only by name "
        "(give one of them another name with @keras.saving.register_keras_serializable and save the model again)"
    )
