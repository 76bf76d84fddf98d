"""Loads the model of a command; TensorFlow starts only for a format that needs it, and is kept quiet."""

from functools import partial
from typing import TYPE_CHECKING

from tfdump.cli.progress import starting
from tfdump.cli.verbosity import Verbosity
from tfdump.model.loading.options import LoadingOptions
from tfdump.model.loading.with_options import load_with_options
from tfdump.process.stages import Stage, silent_stage

if TYPE_CHECKING:
    from tfdump.model.loading.loaded_model import LoadedModel


def load(options: LoadingOptions, verbosity: Verbosity, seed: int = 0, stage: Stage = silent_stage) -> "LoadedModel":
    """Import the user's modules and load the model; raises ModelError when either fails."""
    shown = partial(starting, verbosity)
    return load_with_options(options, seed, stage=stage, starting=shown, verbose=verbosity.verbose)
