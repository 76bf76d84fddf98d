"""The data of a call of the Python API: arrays, paths, data sets, functions and random numbers, and preprocessing."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from tfdump.api.arguments import Inputs, arrays_of
from tfdump.api.models import warn
from tfdump.argument_kinds import shown, whole_number
from tfdump.errors import TfdumpError
from tfdump.inputs.arguments import open_arguments
from tfdump.inputs.data_options import ARRAYS_ONLY, DataOptions
from tfdump.inputs.functions.data import UserData, is_batched_data
from tfdump.inputs.input_array import InputArray, InputCollection
from tfdump.inputs.options_without_data import options_without_data
from tfdump.inputs.preprocessing import Preprocessing, PreprocessingStep, parse_steps
from tfdump.model.data_libraries import LIBRARIES

Data = Inputs | Callable[..., Any]
"""Inputs, a `tf.data.Dataset`, a `keras.utils.PyDataset`, or a function that returns or yields one of all these."""

Preprocess = str | Callable[[Any], Any] | Iterable[Any] | Mapping[str, Any]
"""One step, several in order, or those of each input by name."""


def options_of_data(data: DataOptions | None, preprocess: Preprocess | None) -> DataOptions:
    """Return the options with the steps of both arguments; raises TfdumpError for what is not valid."""
    options = ARRAYS_ONLY if data is None else data
    if not isinstance(options, DataOptions):
        raise TfdumpError(f"data {shown(data)} is no tfdump.DataOptions (for example tfdump.DataOptions(random=8))")
    for name in ("random", "open_size", "most_examples"):
        whole_number(name, getattr(options, name))
    whole_number("seed", options.seed, 0)
    if options.random is not None and options.function is not None:
        raise TfdumpError("random and function of data exclude each other (leave one of them out)")
    steps = (*_steps(options.preprocess), *_steps(preprocess))
    parse_steps(steps)
    return replace(options, preprocess=steps, libraries=LIBRARIES)


def data_for_inputs(x: Data | None, options: DataOptions) -> list[InputArray]:
    """Return the arrays of `x`, or the data that takes its place; warn of options that are about other data.

    Raises TfdumpError for a value without data.
    """
    arrays = _arrays_for_inputs(x, options)
    for text in options_without_data(arrays, options, in_python=True):
        warn(text)
    return arrays


def _arrays_for_inputs(x: Data | None, options: DataOptions) -> list[InputArray]:
    name = "random" if options.random is not None else "function" if options.function is not None else None
    if name is not None:
        if x is not None:
            raise TfdumpError(f"x and {name} of data exclude each other (leave one of them out)")
        return open_arguments([], options=options)
    if isinstance(x, (str, Path)):
        return open_arguments([str(x)], options=options)
    if is_batched_data(x):
        return [_user_data(lambda: x, f"the input ({type(x).__name__})", options)]
    if callable(x) and _is_function(x):
        return [_user_data(x, str(getattr(x, "__name__", type(x).__name__)), options)]
    return arrays_of(x)


def _steps(preprocess: Preprocess | None) -> tuple[Preprocessing, ...]:
    if preprocess is None:
        return ()
    if isinstance(preprocess, str) or callable(preprocess):
        return (_step(preprocess),)
    if isinstance(preprocess, Mapping):
        return tuple(
            PreprocessingStep(name, step.text, step.kind, step.numbers, step.function)
            for name, value in preprocess.items()
            for step in parse_steps(_steps(value))
        )
    if not isinstance(preprocess, Iterable):
        raise TfdumpError(f"preprocess {shown(preprocess)} is neither text nor a function (for example 'resnet50')")
    return tuple(_step(item) for item in preprocess)


def _step(value: Any) -> Preprocessing:
    if not isinstance(value, (str, PreprocessingStep)) and not callable(value):
        raise TfdumpError(f"preprocess {shown(value)} is neither text nor a function (for example 'resnet50')")
    return value  # type: ignore[no-any-return]  # what can be called is supposed to take an array


def _is_function(x: Any) -> bool:
    """Tell whether what can be called is a function, and not an array, a layer or a symbolic tensor."""
    return not hasattr(x, "shape") and not hasattr(x, "get_config")


def _user_data(function: Callable[..., Any], label: str, options: DataOptions) -> InputArray:
    return InputCollection(None, UserData(function, label, options.most_examples))
