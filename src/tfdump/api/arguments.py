"""The arguments of the Python API as the features take them: arrays, patterns, losses, and what is refused."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tfdump.address import Selection
from tfdump.argument_kinds import flag, flags, shown, text, whole_number
from tfdump.byte_sizes import parse_bytes
from tfdump.captures import Captures
from tfdump.dump import layout
from tfdump.errors import TfdumpError
from tfdump.inputs.arguments import Given, open_arguments
from tfdump.inputs.readers import ArrayReader
from tfdump.run.batching import DEFAULT_MEMORY
from tfdump.run.options import FLOAT_DTYPES, RunOptions
from tfdump.statistics.reduction import Reduction, parse_reduction

Inputs = npt.ArrayLike | Path | Mapping[str, npt.ArrayLike] | list[npt.ArrayLike] | tuple[npt.ArrayLike, ...]
Patterns = str | Iterable[Any] | None
"""One pattern, several, or layers of a Keras model in memory; None is no pattern."""

_ONE_ROW = "give an array with one row per example, a dict of arrays by name, or the path of a file of them"

_NUMBERS = (bool, int, float, complex, np.bool_, np.number)


def seed_number(seed: Any) -> int:
    """Return the seed of random numbers as an int; raises TfdumpError for what is none."""
    number = whole_number("seed", seed, 0)
    if number is None or number >= 2**32:
        raise TfdumpError(f"seed {seed} is not between 0 and 2**32 - 1")
    return number


def check_dtype(dtype: str | None) -> None:
    """Raise TfdumpError for a dtype in which floats are not stored."""
    if dtype not in (None, *FLOAT_DTYPES):
        raise TfdumpError(f"dtype {shown(dtype)} is none of {', '.join(FLOAT_DTYPES)}")


def byte_size(name: str, value: Any) -> int | None:
    """Return a size in bytes, written as a number or as text (`2G`); raises TfdumpError for what is none."""
    return parse_bytes(value) if isinstance(value, str) else whole_number(name, value)


def patterns_of(patterns: Patterns, model: Any = None, name: str = "layers") -> tuple[str, ...]:
    """Return one pattern, or several, as a tuple of text; none for None.

    A layer of `model`, a Keras model in memory, stands for its address. Raises TfdumpError for what is no pattern, with
    the name of the argument.
    """
    refuse_symbolic(patterns, name)
    if patterns is None:
        return ()
    if isinstance(patterns, (str, bytes)) or _is_layer(patterns) or not isinstance(patterns, Iterable):
        patterns = [patterns]
    return tuple(_pattern(item, model, name) for item in patterns)


def selection_of(model: Any, layers: Patterns, exclude: Patterns, depth: int | None) -> Selection:
    """Return what `layers`, `exclude` and `depth` choose; raises SelectionError, or TfdumpError for what is none."""
    return Selection(
        patterns_of(layers, model), patterns_of(exclude, model, "exclude"), whole_number("depth", depth, 0)
    )


def run_options(batch_size: int | None, memory: int | str, training: bool) -> RunOptions:
    """Return how to run; raises TfdumpError for sizes that are none."""
    size = byte_size("memory", memory)
    return RunOptions(
        whole_number("batch_size", batch_size), DEFAULT_MEMORY if size is None else size, flag("training", training)
    )


def captures_of(attention: Any, rnn_steps: Any, rnn_gates: Any, preactivation: Any, layer_inputs: Any) -> Captures:
    """Return what is taken beside what the layers return; raises TfdumpError for what is no switch."""
    return Captures(
        **flags(
            attention=attention,
            rnn_steps=rnn_steps,
            rnn_gates=rnn_gates,
            preactivation=preactivation,
            layer_inputs=layer_inputs,
        )
    )


def reduction_of(reduce: Any) -> Reduction | None:
    """Return a reduction, None where there is none; raises TfdumpError for what is no text, or no reduction."""
    words = text("reduce", reduce, "mean:spatial")
    return None if words is None else parse_reduction(words)


def _pattern(item: Any, model: Any, name: str) -> str:
    if isinstance(item, str):
        return item
    refuse_symbolic(item, name)
    if not _is_layer(item):
        raise TfdumpError(
            f"{name}: {shown(item)} is no pattern (give an address such as 'block1.conv', a glob or a layer)"
        )
    if not _is_layer(model):
        raise TfdumpError(
            f"{name}: a layer object stands for its address only where the model is in memory ({name}='{item.name}')"
        )
    from tfdump.model.recording.ownership import ownership_address

    address = ownership_address(model, item)
    if address is None:
        raise TfdumpError(
            f"{name}: the layer '{item.name}' is not part of the model '{model.name}' (list what is: "
            "tfdump.layers(model))"
        )
    return address


def _is_layer(value: Any) -> bool:
    """Tell whether a value is a layer of Keras, without importing Keras."""
    return any(base.__name__ == "Layer" and base.__module__.startswith("keras.") for base in type(value).__mro__)


def refuse_symbolic(value: Any, argument: str) -> None:
    """Raise TfdumpError, with an explanation, where a KerasTensor stands for a value."""
    if type(value).__name__ != "KerasTensor":
        return
    history = getattr(value, "_keras_history", None)
    name = getattr(getattr(history, "operation", None), "name", "dense")
    raise TfdumpError(
        f"{argument} is a KerasTensor: the symbolic output of the layer '{name}', with shape {value.shape} and dtype, "
        "but without values. Values exist when the model runs on data: "
        f"tfdump.activations(model, array, layers='{name}')"
    )


def given_arrays(x: Any, what: str = "input") -> list[Given]:
    """Return arrays with their names, where they have some; `what` they are, for error lines.

    Raises TfdumpError for what holds no arrays: None, a generator, a data set.
    """
    if isinstance(x, (str, Path)):
        return open_arguments([str(x)], f"{what} file")
    if isinstance(x, Mapping):
        return [Given(str(name), _reader(array, f"{what} '{name}'")) for name, array in x.items()]
    if isinstance(x, tuple) or (isinstance(x, list) and x and hasattr(x[0], "shape")):
        return [Given(None, _reader(array, f"{what} {number}")) for number, array in enumerate(x)]
    return [Given(None, _reader(x, f"the {what}"))]


def _reader(value: Any, label: str) -> ArrayReader:
    refuse_symbolic(value, label)
    if value is None:
        raise TfdumpError(f"{label} is None ({_ONE_ROW})")
    if hasattr(value, "element_spec") or any(base.__name__ == "PyDataset" for base in type(value).__mro__):
        raise TfdumpError(
            f"{label} is a {type(value).__name__}, which yields batches and is no array (put a part of it together: "
            f"np.concatenate([np.asarray({_first_of(value)}) for batch in ...]))"
        )
    if isinstance(value, Iterator):
        raise TfdumpError(f"{label} is a {type(value).__name__}, which can be read only once ({_ONE_ROW})")
    try:
        array = np.asarray(value)
    except (TypeError, ValueError) as cause:
        raise TfdumpError(f"{label} is no array: {cause} ({_ONE_ROW})") from None
    if array.dtype == object and not array.ndim:
        raise TfdumpError(f"{label} is {shown(value)}, and no array ({_ONE_ROW})")
    return ArrayReader(_numbers(array), label)


def _numbers(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return an array of objects that are booleans, or numbers, as NumPy would have made it; any other as it is."""
    if array.dtype != object:
        return array
    kinds = {isinstance(item, (bool, np.bool_)) for item in array.flat if isinstance(item, _NUMBERS)}
    if len(kinds) != 1 or not all(isinstance(item, _NUMBERS) for item in array.flat):
        return array
    numbers = np.array(array.tolist())
    return array if numbers.dtype == object else numbers


def _first_of(batches: Any) -> str:
    """Return how one gets at the arrays in batches that are tuples of inputs and targets."""
    return "batch[0]" if isinstance(getattr(batches, "element_spec", None), tuple) else "batch"


def loss_names(loss: Any) -> tuple[tuple[str, ...], dict[str, Any]]:
    """Return the losses as names, `OUTPUT=NAME` for those of a dict, and by name those that are objects.

    Raises TfdumpError for what is neither a name nor a loss.
    """
    refuse_symbolic(loss, "loss")
    if loss is None or isinstance(loss, str):
        return (() if loss is None else (loss,)), {}
    custom: dict[str, Any] = {}
    if isinstance(loss, Mapping):
        return tuple(f"{output}={_loss_name(item, custom)}" for output, item in loss.items()), custom
    if callable(loss):
        return (_loss_name(loss, custom),), custom
    if not isinstance(loss, Iterable):
        raise TfdumpError(f"loss {shown(loss)} is neither the name of a loss, nor a loss (for example loss='mse')")
    names = tuple(loss)
    for item in names:
        if not isinstance(item, str):
            raise TfdumpError(
                f"loss: {shown(item)} in a list is no text OUTPUT=NAME (give a dict: loss={{'output': ...}})"
            )
    return names, {}


def _loss_name(loss: Any, custom: dict[str, Any]) -> str:
    """Return the name of one loss; an object is put into `custom` under a name that no other has."""
    if isinstance(loss, str):
        return loss
    if isinstance(loss, type):
        raise TfdumpError(f"loss is the class {loss.__name__}, and not a loss (make one: {loss.__name__}())")
    if not callable(loss):
        raise TfdumpError(f"loss {shown(loss)} is neither the name of a loss, nor a loss (for example 'mse')")
    plain = str(getattr(loss, "name", None) or getattr(loss, "__name__", "loss")).replace("=", "_")
    name, number = plain, 1
    while custom.get(name, loss) is not loss:
        number += 1
        name = f"{plain}_{number}"
    custom[name] = loss
    return name


def optimizer_name(optimizer: Any) -> str:
    """Return the name of an optimizer; raises TfdumpError where an object was given."""
    if isinstance(optimizer, str):
        return optimizer
    name = type(optimizer).__name__ if not isinstance(optimizer, type) else optimizer.__name__
    raise TfdumpError(
        f"optimizer is the name of an optimizer of Keras, with its defaults, and not an object (optimizer='{name}', "
        "and its learning rate as learning_rate)"
    )


def check_intervals(every: int, on: str, keep: int | None, on_error: str) -> None:
    """Raise TfdumpError for intervals that are none."""
    whole_number("keep", keep)
    if whole_number("every", every) is None:
        raise TfdumpError("every is None, and not a number from 1 up")
    if on not in (layout.EPOCH, layout.BATCH):
        raise TfdumpError(f"on {on!r} is neither '{layout.EPOCH}' nor '{layout.BATCH}'")
    if on_error not in ("warn", "raise"):
        raise TfdumpError(f"on_error {on_error!r} is neither 'warn' nor 'raise'")


def refuse_arguments(arguments: dict[str, bool], why: str) -> None:
    """Raise TfdumpError where one of the arguments was given; `why` it does not belong here."""
    for name, given in arguments.items():
        if given:
            raise TfdumpError(f"{name} is for {why}")
