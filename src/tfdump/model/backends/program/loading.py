"""Loading the model of a request. tfdump has checked the file, and says here what is left to check."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
from keras import Layer

from tfdump.errors import ModelError, UntrustedModelError
from tfdump.model.any_backend_internals import serialization_lib
from tfdump.model.loading.lambda_code import advice_on_names, names_for_lambdas
from tfdump.model.loading.load_errors import MOST_LAYERS_IN_A_ROW
from tfdump.model.loading.named_imports import with_named_code
from tfdump.model.loading.user_code import UserCode, import_user_code
from tfdump.model.tracing.variable_limit import limited_variables


def load_keras_model(fields: Mapping[str, Any]) -> Layer:
    """Import the user's modules and load a model, uncompiled.

    Raises UntrustedModelError where the file names what neither Keras nor these modules define, and any error of Keras.
    """
    path, trust = Path(fields["path"]), bool(fields["trust"])
    code = with_named_code(import_user_code(tuple(fields["imports"])), fields["config"], str(path))
    if not trust:
        _check_left(fields["left"], code)
    place = f"{path}{os.sep}" if path.is_dir() else str(path)
    sys.setrecursionlimit(MOST_LAYERS_IN_A_ROW)
    stored = None if trust else fields["stored"]
    scope = serialization_lib.SafeModeScope(not trust)  # the user's module may have turned off safe mode globally
    try:
        with scope, names_for_lambdas(code), limited_variables(fields["limit"], stored):
            return keras.models.load_model(place, custom_objects=dict(code), compile=False, safe_mode=not trust)
    except ModelError as cause:
        raise ModelError(f"{path}: {cause}") from cause
    except Exception as cause:  # Keras raises almost any class of error
        if advice := advice_on_names(cause):
            raise ModelError(f"{path}: {advice}") from cause
        raise


def _check_left(left: list[dict[str, Any]], code: UserCode) -> None:
    """Raise UntrustedModelError for an object that the user's modules do not define, or that runs code of the file."""
    for one in left:
        values = [keras.saving.get_registered_object(name, dict(code)) for name in one["names"]]
        known = [value for value in values if value is not None]
        if not known:
            raise UntrustedModelError(one["message"])
        if any(isinstance(value, type) and issubclass(value, keras.layers.Lambda) for value in known):
            raise UntrustedModelError(
                f"{one['where']} is a Lambda layer, which runs code from the model file (add --trust-model if you "
                "trust its author)"
            )
