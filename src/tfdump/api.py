"""The Python API: the same features as the command line, on models and arrays in memory."""

import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tfdump.activation_run import ActivationOptions, open_activations, open_writer
from tfdump.address import Selection
from tfdump.analysis.reduction import parse_reduction
from tfdump.batching import DEFAULT_MEMORY, parse_bytes
from tfdump.dump.reader import Dump
from tfdump.errors import TfdumpError, TfdumpWarning
from tfdump.inputs.arguments import Given
from tfdump.inputs.readers import ArrayReader
from tfdump.listing import ListedTensor, list_tensors
from tfdump.planning import RunOptions
from tfdump.sinks import FLOAT_DTYPES, StoreOptions
from tfdump.tensors import Value

if TYPE_CHECKING:
    from keras import Layer

    from tfdump.model.load import LoadedModel

Inputs = npt.ArrayLike | Mapping[str, npt.ArrayLike] | list[npt.ArrayLike] | tuple[npt.ArrayLike, ...]
Patterns = str | Iterable[str]


def activations(
    model: "Layer | str | Path",
    x: Inputs,
    *,
    layers: Patterns = (),
    exclude: Patterns = (),
    depth: int | None = None,
    batch_size: int | None = None,
    memory: int | str = DEFAULT_MEMORY,
    training: bool = False,
    seed: int = 0,
    eager: bool = False,
    reduce: str | None = None,
    dtype: str | None = None,
) -> dict[str, "Value | list[Any]"]:
    """Return the output of every layer of `model` on `x`, by address, in execution order.

    `model` is a Keras model or the path of a saved one (of which no code of its own runs). `x` is an array with
    a row an example; several inputs are a dict by name, or a tuple or list in order. `layers`, `exclude` and
    `depth` select as on the command line. Values are NumPy arrays as a dump stores them (bfloat16 as float32,
    text as str objects); ragged and sparse ones are `tfdump.tensors.Ragged` and `Sparse`, batches of unequal
    shapes a list. The model is left as it was.

    Raises TfdumpError (see `tfdump.errors`); warns with TfdumpWarning of what was cast or not captured.
    """
    _check_arguments(batch_size, seed, dtype)
    options = ActivationOptions(
        selection=Selection(_patterns(layers), _patterns(exclude), depth),
        outputs=False,
        seed=seed,
        eager=eager,
        run=RunOptions(batch_size, parse_bytes(memory) if isinstance(memory, str) else memory, training),
        store=StoreOptions(reduction=parse_reduction(reduce) if reduce is not None else None, dtype=dtype),
    )
    with open_activations(_loaded(model), _given(x), options, _warn) as run:
        writer = open_writer(run, None, force=False)
        try:
            run.write(writer, "tfdump.activations")
            dump = Dump(writer.file, "the activations")
            return {address: dump[address].read() for address in dump.groups["activations"]}
        finally:
            writer.abort()


def layers(model: "Layer | str | Path", x: Inputs | None = None, *, layers: Patterns = ()) -> list[ListedTensor]:
    """Return what `activations` would give, without running the model: address, class, shape, dtype, sizes.

    `x` is needed only for a model that does not declare the shapes of its inputs.
    """
    given = _given(x) if x is not None else []
    return list(list_tensors(_loaded(model).model, given, Selection(_patterns(layers)), _warn).tensors)


def _check_arguments(batch_size: int | None, seed: int, dtype: str | None) -> None:
    """Raise TfdumpError for values that the command line would refuse too."""
    if batch_size is not None and (not isinstance(batch_size, int) or batch_size < 1):
        raise TfdumpError(f"batch_size {batch_size!r} is neither a number from 1 up nor None")
    if not 0 <= seed < 2**32:
        raise TfdumpError(f"seed {seed} is not between 0 and 2**32 - 1")
    if dtype not in (None, *FLOAT_DTYPES):
        raise TfdumpError(f"dtype {dtype!r} is none of {', '.join(FLOAT_DTYPES)}")


def _patterns(patterns: Patterns) -> tuple[str, ...]:
    return (patterns,) if isinstance(patterns, str) else tuple(patterns)


def _given(x: Inputs) -> list[Given]:
    if isinstance(x, Mapping):
        return [Given(name, ArrayReader(array, f"input '{name}'")) for name, array in x.items()]
    if isinstance(x, tuple) or (isinstance(x, list) and x and hasattr(x[0], "shape")):
        return [Given(None, ArrayReader(array, f"input {number}")) for number, array in enumerate(x)]
    return [Given(None, ArrayReader(np.asarray(x), "the input"))]


def _loaded(model: "Layer | str | Path") -> "LoadedModel":
    from tfdump.model.load import in_memory, load_model

    return load_model(Path(model)) if isinstance(model, (str, Path)) else in_memory(model)


def _warn(message: str) -> None:
    warnings.warn(message, TfdumpWarning, stacklevel=3)
