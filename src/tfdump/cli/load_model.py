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
    """Load a model, or a file of weights alone, which the model of `--like` gets while the body runs.

    Raises ModelError where the file cannot be loaded, and where it does not fit the model.
    """
    check_path(options.path, "model", ModelError)
    from tfdump.model.weights.opening import holds_graph
    from tfdump.model.weights.weight_files import is_weight_file, open_weight_file

    if options.backend is None and holds_graph(options.path):
        yield _open_graph(options, verbosity, stage)
    elif not is_weight_file(options.path):
        yield load(options, verbosity, stage=stage)
    elif options.like is None:
        yield open_weight_file(options.path, options.max_bytes)
    else:
        like = load(replace(options, path=options.like, like=None), verbosity, stage=stage)
        from tfdump.model.weights.into_model import with_weights_of_file

        with with_weights_of_file(like, options.path, options.max_bytes) as loaded:
            yield loaded


def _open_graph(options: LoadingOptions, verbosity: Verbosity, stage: Stage) -> "LoadedModel":
    """Open a SavedModel, `.tflite` or `.onnx` file for its weights, which the model of `--like` names."""
    from tfdump.model.loading.load import needs_tensorflow
    from tfdump.model.weights.opening import open_graph

    if options.like is not None:
        check_path(options.like, "model of --like", ModelError)
    elif needs_tensorflow(options.path):
        start_tensorflow(options, 0, partial(starting, verbosity), verbosity.verbose)
    like = (
        None
        if options.like is None
        else load(replace(options, path=options.like, like=None, signature=None), verbosity)
    )
    stage(f"Reading {options.path.name}")
    loaded = open_graph(options.path, options.signature, options.max_bytes)
    if like is not None:
        from tfdump.model.like import name_like

        name_like(loaded, like)
    return loaded
