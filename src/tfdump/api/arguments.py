"""Converting the arguments of the Python API: arrays, patterns, losses, and errors for values that are not valid."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tfdump.address import Selection
from tfdump.argument_kinds import flags, shown, whole_number
from tfdump.captures import Captures
from tfdump.dump import layout
from tfdump.errors import TfdumpError
from tfdump.inputs.arguments import open_arguments
from tfdump.inputs.data_options import DataOptions
from tfdump.inputs.input_array import InputArray
from tfdump.inputs.readers import ArrayReader
from tfdump.model.data_libraries import LIBRARIES

Inputs = npt.ArrayLike | Path | Mapping[str, npt.ArrayLike] | list[npt.ArrayLike] | tuple[npt.ArrayLike, ...]
Patterns = str | Iterable[Any] | None
"""One pattern, several patterns, or layers of a Keras model in memory; None is no pattern."""

_ONE_ROW = "give an array with one row per example, a dict of arrays by name, or the path of a file of arrays"

_NUMBERS = (bool, int, float, complex, np.bool_, np.number)


def patterns_of(patterns: Patterns, model: Any = None, name: str = "layers") -> tuple[str, ...]:
    """Return one pattern, or several, as a tuple of text; () for None.

    A layer of `model`, a Keras model in memory, stands for its address. Raises TfdumpError, with the `name` of the
    argument, for a value that is not a pattern.
    """
    refuse_symbolic(patterns, name)
    if patterns is None:
        return ()
    if isinstance(patterns, (str, bytes)) or _is_layer(patterns) or not isinstance(patterns, Iterable):
        patterns = [patterns]
    return tuple(_pattern(item, model, name) for item in patterns)


def selection_of(model: Any, layers: Patterns, exclude: Patterns, depth: int | None) -> Selection:
    """Return the selection of these arguments; raises SelectionError or TfdumpError where one is not valid."""
    return Selection(
        patterns_of(layers, model), patterns_of(exclude, model, "exclude"), whole_number("depth", depth, 0)
    )


def captures_of(
    attention: Any, rnn_steps: Any, rnn_gates: Any, preactivation: Any, layer_inputs: Any, ops: Any
) -> Captures:
    """Return the captures of these arguments; raises TfdumpError where one is neither True nor False."""
    return Captures(
        **flags(
            attention=attention,
            rnn_steps=rnn_steps,
            rnn_gates=rnn_gates,
            preactivation=preactivation,
            layer_inputs=layer_inputs,
            ops=ops,
        )
    )


def _pattern(item: Any, model: Any, name: str) -> str:
    if isinstance(item, str):
        return item
    refuse_symbolic(item, name)
    if not _is_layer(item):
        raise TfdumpError(
            f"{name}: {shown(item)} is not a pattern (give an address such as 'block1.conv', a glob or a layer)"
        )
    if not _is_layer(model):
        raise TfdumpError(
            f"{name}: a layer object stands for its address only where the model is in memory ({name}='{item.name}')"
        )
    from tfdump.model.recording.ownership import ownership_address

    address = ownership_address(model, item)
    if address is None:
        raise TfdumpError(
            f"{name}: the layer '{item.name}' is not part of the model '{model.name}' (list its layers: "
            "tfdump.layers(model))"
        )
    return address


def _is_layer(value: Any) -> bool:
    """Tell whether a value is a layer of Keras, without importing Keras."""
    return any(base.__name__ == "Layer" and base.__module__.startswith("keras.") for base in type(value).__mro__)


def refuse_symbolic(value: Any, argument: str) -> None:
    """Raise TfdumpError, with an explanation, where a value is a KerasTensor."""
    if type(value).__name__ != "KerasTensor":
        return
    history = getattr(value, "_keras_history", None)
    name = getattr(getattr(history, "operation", None), "name", "dense")
    raise TfdumpError(
        f"{argument} is a KerasTensor: the symbolic output of the layer '{name}', which has the shape {value.shape} "
        "and a dtype, but no values. Values exist when the model runs on data: "
        f"tfdump.activations(model, array, layers='{name}')"
    )


def arrays_of(x: Any, what: str = "input") -> list[InputArray]:
    """Return the arrays of an argument, with their names where they have names. Errors call them `what`.

    Raises TfdumpError for a value without arrays: None, a generator, a data set.
    """
    if isinstance(x, (str, Path)):
        return open_arguments([str(x)], f"{what} file", DataOptions(libraries=LIBRARIES))
    if isinstance(x, Mapping):
        return [InputArray(str(name), _reader(array, f"{what} '{name}'")) for name, array in x.items()]
    if isinstance(x, tuple) or (isinstance(x, list) and x and hasattr(x[0], "shape")):
        return [InputArray(None, _reader(array, f"{what} {number}")) for number, array in enumerate(x)]
    return [InputArray(None, _reader(x, f"the {what}"))]


def _reader(value: Any, label: str) -> ArrayReader:
    refuse_symbolic(value, label)
    if value is None:
        raise TfdumpError(f"{label} is None ({_ONE_ROW})")
    if hasattr(value, "element_spec") or any(base.__name__ == "PyDataset" for base in type(value).__mro__):
        raise TfdumpError(
            f"{label} is a {type(value).__name__}, which yields batches and is not an array (put a part of it "
            f"together: np.concatenate([np.asarray({_first_of(value)}) for batch in ...]))"
        )
    if isinstance(value, Iterator):
        raise TfdumpError(f"{label} is a {type(value).__name__}, which can be read only once ({_ONE_ROW})")
    try:
        array = np.asarray(value)
    except (TypeError, ValueError) as cause:
        raise TfdumpError(f"{label} is not an array: {cause} ({_ONE_ROW})") from None
    if array.dtype == object and not array.ndim:
        raise TfdumpError(f"{label} is {shown(value)}, and not an array ({_ONE_ROW})")
    return ArrayReader(_numbers(array), label)


def _numbers(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return an array of objects that are all booleans or all numbers in a NumPy dtype, and any other as it is."""
    if array.dtype != object:
        return array
    kinds = {isinstance(item, (bool, np.bool_)) for item in array.flat if isinstance(item, _NUMBERS)}
    if len(kinds) != 1 or not all(isinstance(item, _NUMBERS) for item in array.flat):
        return array
    numbers = np.array(array.tolist())
    return array if numbers.dtype == object else numbers


def _first_of(batches: Any) -> str:
    """Return the expression for the inputs of a batch, which may be a tuple of inputs and targets."""
    return "batch[0]" if isinstance(getattr(batches, "element_spec", None), tuple) else "batch"


def loss_names(loss: Any) -> tuple[tuple[str, ...], dict[str, Any]]:
    """Return the names of the losses (`OUTPUT=NAME` for those of a dict), and the loss objects by name.

    Raises TfdumpError for a value that is neither the name of a loss nor a loss.
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
                f"loss: {shown(item)} in a list is not a text OUTPUT=NAME (give a dict: loss={{'output': ...}})"
            )
    return names, {}


def _loss_name(loss: Any, custom: dict[str, Any]) -> str:
    """Return the name of one loss; an object goes into `custom` under a name that no other loss has."""
    if isinstance(loss, str):
        return loss
    if isinstance(loss, type):
        raise TfdumpError(f"loss is the class {loss.__name__}, and not a loss (create one: {loss.__name__}())")
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
    """Return the name of an optimizer; raises TfdumpError where it is an object."""
    if isinstance(optimizer, str):
        return optimizer
    name = type(optimizer).__name__ if not isinstance(optimizer, type) else optimizer.__name__
    raise TfdumpError(
        f"optimizer must be the name of a Keras optimizer, and not an object (optimizer='{name}', "
        "and its learning rate as learning_rate)"
    )


def check_intervals(every: int, on: str, keep: int | None, on_error: str) -> None:
    """Raise TfdumpError for intervals that are not valid."""
    whole_number("keep", keep)
    if whole_number("every", every) is None:
        raise TfdumpError("every is None, not a whole number of at least 1")
    if on not in (layout.EPOCH, layout.BATCH):
        raise TfdumpError(f"on {on!r} is neither '{layout.EPOCH}' nor '{layout.BATCH}'")
    if on_error not in ("warn", "raise"):
        raise TfdumpError(f"on_error {on_error!r} is neither 'warn' nor 'raise'")


def refuse_arguments(arguments: dict[str, bool], why: str) -> None:
    """Raise TfdumpError where one of the arguments is set; `why` tells what it is for."""
    for name, is_set in arguments.items():
        if is_set:
            raise TfdumpError(f"{name} is for {why}")
