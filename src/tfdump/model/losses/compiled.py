"""The loss that a model was compiled with, read from its compile configuration without compiling the model."""

from collections.abc import Iterator, Mapping
from typing import Any

import keras
from keras import Layer

from tfdump.errors import ModelError, UntrustedModelError
from tfdump.model.any_backend_internals import serialization_lib
from tfdump.model.error_text import first_line
from tfdump.model.keras_internals import Trainer
from tfdump.model.loading.keras_files import ADDED_LOSSES
from tfdump.model.loading.loaded_model import LoadedModel
from tfdump.model.loading.trust import check_config
from tfdump.model.losses.names import LOSSES, is_keras_loss
from tfdump.model.losses.scalar import HOW, CompiledLosses, LossChoice, NamedLosses, Objective, Scalar

_ARRAYS = ("__numpy__", "__tensor__")
"""Class names under which Keras writes the values of an array."""


def scalar_of(loaded: LoadedModel, choice: LossChoice) -> Scalar:
    """Return the scalar to differentiate.

    Raises ModelError for unknown names, and where the user chose none and the model was not compiled.
    """
    if choice.objective is not None and choice.names:
        raise ModelError("--loss and --objective exclude each other (an objective needs no targets)")
    compiled = not choice.names or ("compiled" in choice.names and "compiled" not in loaded.custom)
    if choice.from_logits and (choice.objective is not None or compiled):
        raise ModelError("--from-logits needs --loss NAME (a compiled loss has its own setting)")
    if choice.objective is not None:
        return Objective(choice.objective, choice.reduction)
    if not compiled:
        return NamedLosses(choice, loaded.custom)
    if len(choice.names) > 1:
        raise ModelError("--loss compiled cannot be combined with other losses (it covers all outputs)")
    compiled_loss = _compiled(loaded)
    if compiled_loss is None:
        asked = "--loss compiled: " if choice.names else ""
        raise ModelError(f"{asked}the model was saved without a loss; {HOW}")
    model = loaded.model
    for method in ("compute_loss", "train_step"):
        own, theirs = getattr(type(model), method, None), _of_keras(method)
        if own is not None and own not in theirs:
            raise ModelError(
                f"the model overrides {method} to compute its loss, which cannot be split over batches; {HOW}"
            )
    return CompiledLosses(model, *compiled_loss, choice.reduction)


def _of_keras(method: str) -> list[Any]:
    return [getattr(cls, method, None) for cls in (Trainer, keras.Model)]


def _compiled(loaded: LoadedModel) -> tuple[Any, Any] | None:
    """Return the loss and the loss weights of a compiled model, else None."""
    live = getattr(loaded.model, "_compile_loss", None)
    if live is not None:
        return live._user_loss, live._user_loss_weights
    if getattr(loaded.model, "compiled", False):
        return None, None
    config = loaded.compile_config
    if not config:
        return None
    if config.get(ADDED_LOSSES):
        raise ModelError(
            f"{loaded.name}: the model has losses that Keras 2 saved for add_loss, which Keras 3 cannot read from a "
            f"file; {HOW}"
        )
    _check(config.get("loss"), loaded)
    try:
        scope = keras.saving.custom_object_scope(dict(loaded.custom))
        with scope, serialization_lib.SafeModeScope(not loaded.trusted):
            loss = _deserialized(config.get("loss"), loaded.custom)
        if loss is not None:  # a legacy file has the names of functions
            loss = keras.tree.map_structure(
                lambda leaf: loaded.custom.get(leaf, leaf) if isinstance(leaf, str) else leaf, loss
            )
    except ModelError as cause:
        raise ModelError(f"{loaded.name}: {cause}") from cause
    except Exception as cause:  # Keras raises nearly every class of error for a bad configuration
        raise ModelError(f"{loaded.name}: cannot read the compiled loss: {first_line(cause)}; {HOW}") from cause
    return loss, config.get("loss_weights")


def _deserialized(config: Any, custom: Mapping[str, Any]) -> Any:
    """Return the losses of a configuration; the objects of a legacy file have no module."""
    if isinstance(config, (list, tuple)):
        return [_deserialized(item, custom) for item in config]
    if not isinstance(config, Mapping) or str(config.get("class_name", "")).startswith("__"):
        return serialization_lib.deserialize_keras_object(config)
    if "class_name" not in config:
        return {name: _deserialized(item, custom) for name, item in config.items()}
    legacy, inner = "module" not in config, config.get("config")
    if isinstance(inner, str) and isinstance(custom.get(config["class_name"]), type):
        raise ModelError(
            f"the file holds the name of its compiled loss '{config['class_name']}', but not the arguments (--loss "
            f"{config['class_name']} creates one without arguments)"
        )
    if isinstance(inner, Mapping):
        name = str(config.get("registered_name") or config["class_name"])
        registered = keras.saving.get_registered_object(name, dict(custom))
        if (
            getattr(getattr(registered, "from_config", None), "__func__", None)
            is keras.losses.Loss.from_config.__func__
        ):
            inner = {key: _array(value) for key, value in inner.items()}
        if inner.get("reduction") == "auto":  # the default of Keras 2
            inner = {**inner, "reduction": "sum_over_batch_size"}
        if name in LOSSES and registered is None:  # Keras 2 wrote it with the function that it calls
            inner = {key: value for key, value in inner.items() if key != "fn"}
        config = {**config, "config": inner}
    return keras.losses.deserialize(config) if legacy else serialization_lib.deserialize_keras_object(config)


def _array(value: Any) -> Any:
    """Return an array for the configuration of one, because `Loss.from_config` does not convert its parameters."""
    if isinstance(value, Mapping) and value.get("class_name") in _ARRAYS:
        return serialization_lib.deserialize_keras_object(value)
    return value


def _check(config: Any, loaded: LoadedModel) -> None:
    """Raise an error for a loss that is code, or that is neither part of Keras nor imported by the user."""
    for name, registered, kind in _named(config):
        if kind == "__lambda__" and loaded.trusted:
            continue
        if name == "<lambda>":
            raise ModelError(
                f"{loaded.name} was compiled with the loss '<lambda>', which the file does not hold; {HOW}"
            )
        if kind == "__lambda__":
            raise UntrustedModelError(
                f"{loaded.name}: the compiled loss is code in the model file (add --trust-model if you trust its "
                f"author, or {HOW})"
            )
        known = (keras.saving.get_registered_object(text, loaded.custom) for text in (name, registered))
        ours = any(value is not None for value in known)
        if not ours and not loaded.trusted and not is_keras_loss(name):
            raise ModelError(
                f"{loaded.name} was compiled with the loss '{name}', which is not part of Keras (import the code that "
                f"defines it: --import MODULE or FILE.py; or {HOW})"
            )
    check_config({"loss": config}, loaded.name, loaded.trusted, loaded.custom)


def _named(config: Any, inside: bool = False) -> Iterator[tuple[str, str, str]]:
    """Yield the name, the registered name and the class name of every object in a configuration.

    A string is the name of a loss only outside of objects.
    """
    if isinstance(config, str) and not inside:
        yield config, config, ""
    elif isinstance(config, Mapping):
        kind, inner = str(config.get("class_name", "")), config.get("config")
        if kind in _ARRAYS:
            return
        if kind and kind != "__tuple__":
            name = inner if kind == "function" and isinstance(inner, str) else kind
            yield str(name), str(config.get("registered_name") or name), kind
        held = {"items": config.get("items")} if kind == "__tuple__" else config
        for value in held.values():
            yield from _named(value, inside or (bool(kind) and kind != "__tuple__"))
    elif isinstance(config, (list, tuple)):
        for value in config:
            yield from _named(value, inside)


def regularization(model: Layer) -> Any:
    """Return the sum of the regularization losses of the weights, or None where the model has none."""
    losses = [keras.ops.sum(loss) for loss in model._get_regularization_losses()]
    return sum(losses[1:], losses[0]) if losses else None


def added_losses(model: Layer) -> list[Any]:
    """Return the losses that the layers of a model added with `add_loss` in its last call."""
    return [loss for layer in model._flatten_layers() for loss in layer._get_own_losses()]
