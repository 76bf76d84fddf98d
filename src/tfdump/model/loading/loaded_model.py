"""A model as it was loaded, whatever it was saved as."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from keras import Layer

from tfdump.tensors import NotCaptured


@dataclass(frozen=True)
class LoadedModel:
    """A model and where it came from: `config` is its architecture as JSON text, `sha256` of its file.

    `model` is a Keras model, or what stands for a SavedModel or a .tflite file (`tfdump.model.runnable.Runnable`);
    `config` of these is the signature. `compile_config` is how it was compiled when it was saved, `custom` what the
    user's modules define, `trusted` tells whether its file may run code, and `max_bytes` is what it may ask for.
    `not_loaded` are layers of the file that the model has not.
    """

    model: Any
    name: str
    sha256: str
    config: str | None
    compile_config: Mapping[str, Any] = field(default_factory=dict)
    custom: Mapping[str, Any] = field(default_factory=dict)
    trusted: bool = False
    max_bytes: int | None = None
    not_loaded: tuple[NotCaptured, ...] = ()

    @property
    def class_name(self) -> str:
        """The name of the model's class, or what kind of file it is."""
        return type(self.model).__name__ if isinstance(self.model, Layer) else str(self.model.class_name)
