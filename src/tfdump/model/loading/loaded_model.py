"""A loaded model of any format."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tfdump.model.runnable import FixedModel
from tfdump.tensors import NotCaptured


@dataclass(frozen=True)
class LoadedModel:
    """A model and its origin.

    `model` is a Keras model, or the `tfdump.model.runnable.FixedModel` of another format. `config` is
    the architecture as JSON text, or the signature of a Runnable, and `sha256` the hash of the file. `compile_config`
    is the saved compile configuration, and `custom` holds what the user's modules define. `trusted` tells whether the
    file may run code, and `max_bytes` how much memory it may request. `not_loaded` are the layers of the file that are
    not in the model. `path` is that of the file with the weights, None for a model in memory.
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
    path: Path | None = None

    @property
    def class_name(self) -> str:
        """The name of the model's class, or the kind of its file."""
        return self.model.class_name if isinstance(self.model, FixedModel) else type(self.model).__name__
