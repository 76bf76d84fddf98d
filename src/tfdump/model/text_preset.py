"""The preprocessors of keras-hub presets, which turn text into the inputs of a model."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tfdump.errors import InputError, TfdumpError
from tfdump.model.error_text import first_line, raise_interruption
from tfdump.model.loading.trust import check_config
from tfdump.model.loading.user_code import import_user_code
from tfdump.tensors import Array

try:
    import keras_hub
except ImportError:
    raise InputError("--preset needs an extra: pip install 'tfdump[presets]'") from None

_PREPROCESSOR = "preprocessor.json"
_CONFIGS = ("config.json", "tokenizer.json", _PREPROCESSOR)

_TASKS = ("TextClassifierPreprocessor", "CausalLMPreprocessor", "Seq2SeqLMPreprocessor")
"""The preprocessors that are tried where a preset names none; not MaskedLMPreprocessor, which draws random masks."""


class HubTextPreset:
    """The preprocessor of the preset in a local folder.

    It is the one that the preset names, or else the one of a text classifier or of a language model with the same
    tokenizer. `length` is that of the sequences, None for the preset's own. Nothing is downloaded. Raises InputError
    for a folder without such a preset, and for one that names code which is not part of keras-hub.
    """

    def __init__(self, folder: Path, length: int | None) -> None:
        if not folder.is_dir():
            raise InputError(f"--preset {folder} is no folder (presets are not downloaded; give a local folder)")
        self._folder = folder
        self._preprocessor = self._opened({} if length is None else {"sequence_length": length})
        self.settings: Mapping[str, Any] = {
            "preset": folder.resolve().name,
            "preprocessor": type(self._preprocessor).__name__,
            "sequence_length": getattr(self._preprocessor, "sequence_length", None),
            "keras_hub": keras_hub.__version__,
        }

    def arrays(self, texts: Sequence[str]) -> dict[str, Array]:
        """Return one array per input of the model, with one row per text."""
        try:
            made, _, _ = keras.utils.unpack_x_y_sample_weight(self._preprocessor(list(texts)))
        except Exception as cause:  # a preprocessor of other data raises errors of many classes
            raise_interruption(cause)
            raise InputError(f"--preset {self._folder} takes no lines of text: {first_line(cause)}") from cause
        if not isinstance(made, Mapping):
            made = {"token_ids": made}
        return {str(name): np.asarray(keras.ops.convert_to_numpy(value)) for name, value in made.items()}

    def _opened(self, settings: Mapping[str, Any]) -> Any:
        configs = {name: self._config(name) for name in _CONFIGS if (self._folder / name).is_file()}
        if "tokenizer.json" not in configs and _PREPROCESSOR not in configs:
            raise InputError(f"--preset {self._folder} is no keras-hub preset of text (it has no tokenizer.json)")
        own = str(configs.get(_PREPROCESSOR, {}).get("class_name", ""))
        classes: list[Any] = [getattr(keras_hub.models, name, None) for name in (own, *_TASKS)]
        reasons = []
        for preprocessor in filter(_is_preprocessor, classes):
            try:
                return preprocessor.from_preset(str(self._folder.resolve()), **settings)
            except Exception as cause:  # keras-hub raises several classes of error for a preset that does not fit
                raise_interruption(cause)
                reasons.append(first_line(cause))
        raise InputError(f"--preset {self._folder} cannot be read: {reasons[0]}")

    def _config(self, name: str) -> dict[str, Any]:
        """Return a configuration of the preset; raises InputError where it names other code."""
        try:
            config = json.loads((self._folder / name).read_bytes())
        except (OSError, ValueError, RecursionError) as cause:
            raise InputError(f"--preset {self._folder}: cannot read {name}: {first_line(cause)}") from None
        if not isinstance(config, dict):
            raise InputError(f"--preset {self._folder}: {name} is damaged")
        try:
            check_config(config, str(self._folder / name), False, import_user_code(("keras_hub",)))
        except TfdumpError as cause:
            raise InputError(str(cause).replace(" (add --trust-model if you trust its author)", "")) from None
        return config


def _is_preprocessor(value: Any) -> bool:
    """Tell whether something is a class of preprocessors that do not draw random numbers."""
    models = keras_hub.models
    return (
        isinstance(value, type)
        and issubclass(value, models.Preprocessor)
        and not issubclass(value, models.MaskedLMPreprocessor)
    )
