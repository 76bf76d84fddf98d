"""Loads the model of a command; TensorFlow starts only for a format that needs it, and is kept quiet."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from tfdump.cli.progress import starting
from tfdump.cli.verbosity import Verbosity
from tfdump.errors import ModelError
from tfdump.files.paths import check_path
from tfdump.model.loading.options import LoadingOptions
from tfdump.model.loading.with_options import load_with_options, start_tensorflow
from tfdump.process.stages import Stage, silent_stage

if TYPE_CHECKING:
    from tfdump.model.loading.loaded_model import LoadedModel


def load(options: LoadingOptions, verbosity: Verbosity, seed: int = 0, stage: Stage = silent_stage) -> "LoadedModel":
    """Import the user's modules and load the model; raises ModelError when either fails."""
    shown = partial(starting, verbosity)
    return load_with_options(options, seed, stage=stage, starting=shown, verbose=verbosity.verbose)


@contextmanager
def load_with_weights(
    options: LoadingOptions, verbosity: Verbosity, stage: Stage = silent_stage
) -> "Iterator[LoadedModel]":
    """Load a model, or open a file of weights alone, which the model of `--like` gets while the body runs.

    Raises ModelError where the file cannot be loaded, and where it does not fit the model.
    """
    check_path(options.path, "model", ModelError)
    if options.like is not None:
        check_path(options.like, "model of --like", ModelError)
    from tfdump.model.weights.opening import Loaders, opened_for_weights

    def load_like(signature: str | None) -> "LoadedModel":
        assert options.like is not None
        return load(replace(options, path=options.like, like=None, signature=signature), verbosity, stage=stage)

    loaders = Loaders(
        partial(load, options, verbosity, stage=stage),
        None if options.like is None else load_like,
        partial(start_tensorflow, options, 0, partial(starting, verbosity), verbosity.verbose),
    )
    with opened_for_weights(options.path, loaders, options.signature, options.max_bytes, stage) as loaded:
        yield loaded
