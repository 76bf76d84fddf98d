"""Loads a model as options say: starts what runs it, and imports the user's modules first."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

from tfdump.errors import ModelError
from tfdump.files.paths import check_path
from tfdump.model.loading.options import LoadingOptions
from tfdump.process.machine import limit_threads
from tfdump.process.stages import Stage, silent_stage

if TYPE_CHECKING:
    from tfdump.model.backends.options import Backend
    from tfdump.model.loading.loaded_model import LoadedModel
    from tfdump.model.loading.user_code import UserCode

Starting = Callable[[str], AbstractContextManager[None]]
"""Shows a text while its body runs, in which file descriptor 2 may be redirected."""


def nothing_shown(text: str) -> AbstractContextManager[None]:
    """Show nothing."""
    return nullcontext()


def load_with_options(
    options: LoadingOptions,
    seed: int = 0,
    *,
    stage: Stage = silent_stage,
    starting: Starting = nothing_shown,
    verbose: bool = False,
) -> "LoadedModel":
    """Import the user's modules and load the model; raises ModelError when either fails.

    `verbose` lets the messages of TensorFlow through.
    """
    check_path(options.path, "model", ModelError)  # before the modules that load models are imported
    if options.like is not None:
        check_path(options.like, "model of --like", ModelError)
    limit_threads(options.threads)
    from tfdump.model.backends.options import backend_of

    python = None if options.backend_python is None else str(options.backend_python)
    backend = backend_of(options.backend, python, verbose)
    if backend is not None:
        return _load_on(backend, options, seed, stage)
    from tfdump.model.loading.load import load_model, needs_tensorflow

    custom = None
    if options.imports or options.like is not None or needs_tensorflow(options.path):
        custom = start_tensorflow(options, seed, starting, verbose)
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


def start_tensorflow(options: LoadingOptions, seed: int, starting: Starting, verbose: bool) -> "UserCode":
    """Import TensorFlow, Keras and the user's modules, and seed them; return the user's code."""
    with starting("Starting TensorFlow"):
        from tfdump.model.backend import import_quietly

        import_quietly(verbose)
    from tfdump.model.loading.user_code import import_user_code
    from tfdump.model.state import start_session

    code = import_user_code(tuple(str(module) for module in options.imports))
    start_session(seed)
    return code
