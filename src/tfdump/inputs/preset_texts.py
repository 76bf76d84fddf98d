"""Lines of text, or a column of text, as the token ids of a keras-hub preset."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from tfdump.errors import InputError
from tfdump.inputs.identity import NamedReader, remarks_of, row_names
from tfdump.inputs.input_array import InputArray
from tfdump.inputs.readers import Reader
from tfdump.tensors import Array, InputSpec

_TOKENS = "token_ids"


class TextPreset(Protocol):
    """The preprocessor of a preset, which turns text into inputs of a model; `settings` describe it for a dump."""

    settings: Mapping[str, Any]

    def arrays(self, texts: Sequence[str]) -> dict[str, Array]:
        """Return one array per input, with one row per text. Raises InputError where it takes no plain text."""


OpenPreset = Callable[[Path, int | None], TextPreset]
"""Opens the preset in a folder, for sequences of this length, or of its own length."""


class PresetTexts:
    """Text that a preset turns into the inputs of a model; `original` is the data without the preset, for targets."""

    def __init__(self, original: InputArray, texts: Callable[[], Reader], preset: Callable[[int | None], TextPreset]):
        self.label = original.label
        self._original = original
        self._texts = texts
        self._preset = preset

    def targets(self) -> list[InputArray]:
        """Return nothing: text has no targets."""
        return []

    def arrays(self, specs: Sequence[InputSpec]) -> list[InputArray]:
        """Return the arrays for the inputs whose names the preset knows, or the token ids for the only one.

        The sequences have the length that an input declares. Raises InputError where the preset lacks an input.
        """
        if specs and all(spec.dtype is None and spec.shape is None for spec in specs):  # no inputs of such a model
            return self._original.for_inputs(specs)
        shapes = [spec.shape for spec in specs if spec.shape is not None and len(spec.shape) == 2]
        length = next((shape[1] for shape in shapes if shape[1] is not None), None)
        tokens = _Tokens(self._texts(), self._preset(length))
        names = list(tokens.first)
        required = [spec.name for spec in specs if not spec.optional]
        missing = [name for name in required if name not in names]
        if len(required) == 1 and missing and _TOKENS in names:
            return [InputArray(required[0], PresetReader(tokens, _TOKENS, self.label))]
        if missing:
            made = ", ".join(f"'{name}'" for name in names)
            raise InputError(f"--preset: the preset makes {made} of text, and no '{missing[0]}', which the model takes")
        made_of = [spec.name for spec in specs if spec.name in names]
        return [InputArray(name, PresetReader(tokens, name, self.label, name == made_of[0])) for name in made_of]


class _Tokens:
    """What a preset makes of texts; several inputs share it, so that each text is tokenized once."""

    def __init__(self, texts: Reader, preset: TextPreset) -> None:
        self.texts = texts
        self.preset = preset
        self.first = preset.arrays([str(text) for text in texts.read(0, 1)])
        self._last: tuple[tuple[int, int], dict[str, Array]] = ((0, 1), self.first)

    def read(self, start: int, stop: int) -> dict[str, Array]:
        if self._last[0] != (start, stop):
            self._last = (start, stop), self.preset.arrays([str(text) for text in self.texts.read(start, stop)])
        return self._last[1]


class PresetReader(NamedReader):
    """One input that a preset makes of texts, shape (texts, length)."""

    def __init__(self, tokens: _Tokens, name: str, label: str, tells: bool = True) -> None:
        self._tokens, self._name, self._tells = tokens, name, tells
        texts, first = tokens.texts, tokens.first[name]
        self.label = f"{label} ({name})"
        self.shape: tuple[int, ...] = (texts.shape[0], *first.shape[1:])
        self.dtype: np.dtype[Any] = first.dtype
        self.names = row_names(texts, label)
        self.settings = tokens.preset.settings

    def remarks(self, start: int, stop: int) -> Sequence[str]:
        """Return the notes about the texts, for the first input alone; raises InputError as their reader does."""
        return remarks_of(self._tokens.texts, start, stop) if self._tells else ()

    def read(self, start: int, stop: int) -> Array:
        """Return the rows from `start` up to `stop`."""
        if stop <= start:
            return np.empty((0, *self.shape[1:]), self.dtype)
        return self._tokens.read(start, stop)[self._name]
