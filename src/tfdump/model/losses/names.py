"""Losses by name: those of Keras, the meaning of a name on the command line, and near names for an unknown one."""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import keras

from tfdump.errors import ModelError, near
from tfdump.model.error_text import first_line
from tfdump.model.keras_internals import ALL_OBJECTS_DICT, LossFunctionWrapper
from tfdump.model.keras_internals import losses as losses_module

_BASES = ("Loss", "LossFunctionWrapper")
"""Base classes that are not losses themselves."""

DEPENDING_ON_SHAPE = ("crossentropy", "ce")
"""Names that `compile` of Keras resolves by the shape of the targets."""

LOSSES: Mapping[str, Any] = {
    name: loss
    for name, loss in (ALL_OBJECTS_DICT | vars(keras.losses)).items()
    if getattr(loss, "__module__", None) == losses_module.__name__ and name not in _BASES
}
"""The losses of Keras, classes and functions. Its own table lacks a few, and its module holds more than losses."""


def is_keras_loss(name: str) -> bool:
    """Tell whether this is the name of a loss of Keras in a compile configuration."""
    return name in LOSSES or name in _BASES or name in DEPENDING_ON_SHAPE


def split_loss(text: str, custom: Mapping[str, Any]) -> tuple[str | None, str]:
    """Return the output (None for all) and the loss name in `[OUTPUT=]NAME`. Raises ModelError for empty names."""
    if text in custom:
        return None, text
    output, equals, name = text.rpartition("=")
    if equals and not output:
        raise ModelError(f"--loss '{text}' names no output before '=' (for all outputs: --loss {name or 'mse'})")
    if not name:
        raise ModelError(f"--loss '{text}' names no loss (for example --loss {text}mse)")
    if equals and name == "compiled" and name not in custom:
        raise ModelError(f"--loss {text}: the compiled loss covers all outputs (use --loss compiled alone)")
    return (output if equals else None), name


def named_loss(name: str, from_logits: bool, custom: Mapping[str, Any]) -> keras.losses.Loss:
    """Return a loss of Keras, or of the user's own modules, by the name of its class or function.

    Raises ModelError for an unknown name, and for a loss that needs arguments or has no `from_logits`.
    """
    if name in DEPENDING_ON_SHAPE and name not in custom:
        raise ModelError(
            f"--loss {name} depends on the shape of the targets, and only compile of Keras resolves it (use "
            "--loss binary_crossentropy, categorical_crossentropy or sparse_categorical_crossentropy)"
        )
    loss = custom.get(name, LOSSES.get(name))
    if loss is None:
        known = [*LOSSES, *custom]
        raise ModelError(
            f"--loss {name}: Keras has no such loss{_near(name, known)} (list: https://keras.io/api/losses)"
        )
    try:
        loss = loss() if isinstance(loss, type) else loss
    except Exception as cause:  # a class of the user may raise anything
        raise ModelError(f"--loss {name}: it cannot be created without arguments: {first_line(cause)}") from cause
    if not isinstance(loss, keras.losses.Loss):
        options = {"from_logits": True} if from_logits else {}
        if from_logits and "from_logits" not in _parameters(loss):
            raise ModelError(f"--from-logits: the loss '{name}' has no such option")
        return LossFunctionWrapper(loss, name=name, **options)
    if not from_logits:
        return loss
    if "from_logits" not in _parameters(type(loss).__init__):
        raise ModelError(f"--from-logits: the loss '{name}' has no such option")
    return type(loss).from_config({**loss.get_config(), "from_logits": True})


def _near(name: str, known: Sequence[str]) -> str:
    """Return near names; those that an abbreviation such as `scce` stands for come first."""
    abbreviated = [full for full in known if _initials(full) == name.lower()]
    return near(abbreviated[0], abbreviated) if abbreviated else near(name, known)


def _initials(name: str) -> str:
    words = name.replace("crossentropy", "cross_entropy").split("_")
    return "".join(word[:1] for word in words) if len(words) > 1 else ""


def _parameters(function: Any) -> Sequence[str]:
    return list(inspect.signature(function).parameters)
