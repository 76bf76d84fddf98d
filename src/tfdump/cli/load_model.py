"""Loads the model of a command; TensorFlow starts only for a format that needs it, and is kept quiet."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tfdump.cli.progress import starting
from tfdump.cli.verbosity import Verbosity
from tfdump.errors import ModelError
from tfdump.files.paths import check_path
from tfdump.process.stages import Stage, silent_stage

if TYPE_CHECKING:
    from tfdump.model.backends.options import Backend
    from tfdump.model.loading.loaded_model import LoadedModel
    from tfdump.model.loading.user_code import UserCode


@dataclass(frozen=True)
class LoadingOptions:
    """The file of a model, the user's modules to import first, and what the file may do.

    `trust` lets the file run its own code, `signature` names one of several, and `max_bytes` limits the memory that
    the file may ask for (None is the default limit). `like` is a Keras model whose addresses a `.tflite` file gets.
    `backend` and `backend_python` are what a Keras file runs on instead of TensorFlow in this process.
    """

    path: Path
    imports: tuple[Path, ...] = ()
    trust: bool = False
    signature: str | None = None
    max_bytes: int | None = None
    like: Path | None = None
    backend: str | None = None
    backend_python: Path | None = None


def load(options: LoadingOptions, verbosity: Verbosity, seed: int = 0, stage: Stage = silent_stage) -> "LoadedModel":
    """Import the user's modules and load the model; raises ModelError when either fails."""
    check_path(options.path, "model", ModelError)  # before the modules that load models are imported
    if options.like is not None:
        check_path(options.like, "model of --like", ModelError)
    from tfdump.model.backends.options import backend_of

    python = None if options.backend_python is None else str(options.backend_python)
    backend = backend_of(options.backend, python, verbosity.verbose)
    if backend is not None:
        return _load_on(backend, options, seed, stage)
    from tfdump.model.loading.load import load_model, needs_tensorflow

    custom = None
    if options.imports or options.like is not None or needs_tensorflow(options.path):
        custom = _start_tensorflow(options.imports, verbosity, seed)
    stage(f"Loading {options.path.name}")
    loaded = load_model(
        options.path,
        trust=options.trust,
        custom=custom,
        signature=options.signature,
        max_bytes=options.max_bytes,
    )
    if options.like is not None:
        from tfdump.model.like import name_like

        stage(f"Reading the names of {options.like.name}")
        name_like(loaded, load_model(options.like, trust=options.trust, custom=custom, max_bytes=options.max_bytes))
    return loaded


def _load_on(backend: "Backend", options: LoadingOptions, seed: int, stage: Stage) -> "LoadedModel":
    """Load a Keras file on another backend; raises ModelError for options that are for other files."""
    for option, value in (("--like", options.like), ("--signature", options.signature)):
        if value is not None:
            raise ModelError(f"{option} is not for Keras files, and {backend.in_words} is (leave one of them out)")
    from tfdump.model.backends.load import load_on_backend

    stage(f"Loading {options.path.name} on {backend.name}")
    return load_on_backend(
        options.path,
        backend,
        trust=options.trust,
        imports=[str(module) for module in options.imports],
        max_bytes=options.max_bytes,
        seed=seed,
        quiet=True,
    )


def _start_tensorflow(imports: tuple[Path, ...], verbosity: Verbosity, seed: int) -> "UserCode":
    """Import TensorFlow, Keras and the user's modules, and seed them; return the user's code."""
    from tfdump.model.backend import import_quietly

    with starting(verbosity, "Starting TensorFlow"):
        import_quietly(verbosity.verbose)
    from tfdump.model.loading.user_code import import_user_code
    from tfdump.model.state import start_session

    code = import_user_code(tuple(str(module) for module in imports))
    start_session(seed)
    return code
