"""The Python API: the same features as the command line, on models and arrays in memory."""

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfdump.address import Selection
from tfdump.api.arguments import (
    Inputs,
    Patterns,
    byte_size,
    captures_of,
    check_dtype,
    given_arrays,
    loss_names,
    optimizer_name,
    patterns_of,
    reduction_of,
    refuse_arguments,
    refuse_symbolic,
    run_options,
    seed_number,
    selection_of,
)
from tfdump.argument_kinds import flag, flags, one_of, positive_number, text, texts, whole_number
from tfdump.dump import layout
from tfdump.dump.reader import Dump
from tfdump.errors import TfdumpError, TfdumpWarning
from tfdump.run.activations.run import ActivationOptions, open_activations
from tfdump.run.batching import DEFAULT_MEMORY
from tfdump.run.gradients.options import GradientOptions, Steps
from tfdump.run.gradients.run import open_gradients
from tfdump.run.gradients.store import GradientStore
from tfdump.run.layers import ListedTensor, list_tensors
from tfdump.run.options import StoreOptions
from tfdump.tensors import Detail, Value

if TYPE_CHECKING:
    from keras import Layer
    from keras.losses import Loss

    from tfdump.model.loading.loaded_model import LoadedModel

_GRADIENT_GROUPS = {
    "weights": layout.WEIGHT_GRADIENTS,
    "activations": layout.ACTIVATION_GRADIENTS,
    "inputs": layout.INPUT_GRADIENTS,
    "step_weights": layout.WEIGHTS,
}


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
    attention: bool = False,
    rnn_steps: bool = False,
    rnn_gates: bool = False,
    preactivation: bool = False,
    layer_inputs: bool = False,
    reduce: str | None = None,
    dtype: str | None = None,
    dequantize: bool = False,
    signature: str | None = None,
    trust: bool = False,
    max_bytes: int | str | None = None,
) -> dict[str, "Value | list[Any]"]:
    """Return the output of every layer of `model` on `x`, by address, in execution order.

    `model` is a Keras model or the path of a saved one, of which no code of its own runs unless `trust` is True; a
    SavedModel directory needs that. `signature` is one of those of a SavedModel or `.tflite` file; with `dequantize`
    the tensors of a quantised `.tflite` file are the real numbers that they stand for. `max_bytes` (`"2G"`) is what a
    file may make this process hold, by default a quarter of the memory.

    `x` is an array with one row per example, or the path of a file of them; several inputs are a dict by name, or a
    tuple or list in order. `layers`, `exclude` and `depth` select as on the command line, and a layer of a model in
    memory stands for its address. `attention` to `layer_inputs` take more than what the layers return, under reserved
    suffixes (`mha:attention_scores`, `lstm:states.0`).

    Values are NumPy arrays as a dump stores them (bfloat16 as float32, text as str objects, or all of it as bytes
    objects where some is not UTF-8 or holds NUL); ragged and sparse ones are `tfdump.tensors.Ragged` and `Sparse`,
    batches of unequal shapes a list. The model is left as it was.

    Raises TfdumpError (see `tfdump.errors`); warns with TfdumpWarning of what was cast or not captured.
    """
    check_dtype(dtype)
    options = ActivationOptions(
        selection=selection_of(model, layers, exclude, depth),
        outputs=False,
        seed=seed_number(seed),
        eager=flag("eager", eager),
        dequantize=flag("dequantize", dequantize),
        run=run_options(batch_size, memory, training),
        store=StoreOptions(reduction=reduction_of(reduce), dtype=dtype),
        captures=captures_of(attention, rnn_steps, rnn_gates, preactivation, layer_inputs),
    )
    with open_activations(_loaded(model, signature, trust, max_bytes), given_arrays(x), options, _warn) as run:
        writer = run.open_writer(None, force=False)
        try:
            run.write(writer, "tfdump.activations")
            dump = Dump(writer.file, "the activations")
            return {address: dump[address].read() for address in dump.groups["activations"]}
        finally:
            writer.abort()


class Gradients(Mapping[str, Any]):
    """Gradients by address, and the loss: a scalar, one number a step, or one an example (float64).

    `weights`, `activations` and `inputs` are the same gradients by kind; a mapping key is the address for the first
    kind that was asked for, and `kind/address` for the others. None stands for what the loss does not reach.
    `step_weights` are the weights before each step, with `save_weights`.
    """

    def __init__(self, kinds: Sequence[str], found: Mapping[str, dict[str, Any]], loss: Any) -> None:
        self.loss = loss
        self.weights = found.get("weights", {})
        self.activations = found.get("activations", {})
        self.inputs = found.get("inputs", {})
        self.step_weights = found.get("step_weights", {})
        self._by_key = {
            address if number == 0 else f"{kind}/{address}": value
            for number, kind in enumerate(kinds)
            for address, value in found.get(kind, {}).items()
        }

    def __getitem__(self, key: str) -> Any:
        return self._by_key[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_key)

    def __len__(self) -> int:
        return len(self._by_key)


def gradients(
    model: "Layer | str | Path",
    x: Inputs,
    y: Inputs | None = None,
    *,
    loss: "str | Loss | Callable[..., Any] | Mapping[str, Any] | Iterable[str] | None" = None,
    objective: str | None = None,
    from_logits: bool = False,
    sample_weight: Inputs | None = None,
    reduction: str | None = None,
    wrt: Patterns = ("weights",),
    layers: Patterns = (),
    exclude: Patterns = (),
    depth: int | None = None,
    per_example: bool = False,
    norms_only: bool = False,
    sparse: bool = False,
    steps: int | None = None,
    learning_rate: float | None = None,
    optimizer: str = "SGD",
    save_weights: bool = False,
    loss_scale: float = 1.0,
    batch_size: int | None = None,
    memory: int | str = DEFAULT_MEMORY,
    training: bool = False,
    seed: int = 0,
    eager: bool = False,
    dtype: str | None = None,
    signature: str | None = None,
    trust: bool = False,
    max_bytes: int | str | None = None,
) -> Gradients:
    """Return the gradients of the loss of `model` on `x` and `y`, all examples together, by address.

    `loss` is the name of a loss of Keras (or `OUTPUT=NAME` for each of several outputs), a loss object or function of
    `(y_true, y_pred)`, a dict of these by output, or None for the one that the model was compiled with.
    With `objective` (`sum`, `mean`, `max` or `OUTPUT[INDEX]`) there are no targets. `y` and `sample_weight` are arrays
    with one row per example, or a dict by output. The shapes are those of the weights, activations and inputs, with a
    leading axis of the examples for weights with `per_example`, and of the steps with `steps`. The model is left as it
    was. `signature`, `trust` and `max_bytes` are those of `activations`; a SavedModel has gradients with respect to
    `inputs`.

    Raises TfdumpError (see `tfdump.errors`); warns with TfdumpWarning of what was cast, not captured or not connected.
    """
    check_dtype(dtype)
    names, custom = loss_names(loss)
    options = GradientOptions(
        selection=selection_of(model, layers, exclude, depth),
        wrt=tuple(dict.fromkeys(texts("wrt", wrt, "weights"))),
        losses=names,
        objective=text("objective", objective, "sum"),
        from_logits=flag("from_logits", from_logits),
        reduction=one_of("reduction", reduction, ("mean", "sum")),
        per_example=flag("per_example", per_example),
        steps=_steps(steps, learning_rate, optimizer, save_weights),
        loss_scale=positive_number("loss_scale", loss_scale),
        seed=seed_number(seed),
        eager=flag("eager", eager),
        run=run_options(batch_size, memory, training),
        store=GradientStore(StoreOptions(dtype=dtype), **flags(norms_only=norms_only, sparse=sparse)),
    )
    loaded = _loaded(model, signature, trust, max_bytes)
    loaded = replace(loaded, custom={**loaded.custom, **custom})
    expected = [] if y is None else given_arrays(y, "target")
    weights = [] if sample_weight is None else given_arrays(sample_weight, "sample weight")
    with open_gradients(loaded, [("x", given_arrays(x))], expected, weights, options, _warn) as run:
        writer = run.open_writer(None, force=False)
        try:
            value = run.write(writer, "tfdump.gradients").values
            dump = Dump(writer.file, "the gradients")
            found = {
                kind: {
                    address: tensor.read() if tensor.connected else None
                    for address in dump.groups.get(group, ())
                    for tensor in [dump[f"{group}/{address}"]]
                }
                for kind, group in _GRADIENT_GROUPS.items()
            }
        finally:
            writer.abort()
    return Gradients(options.wrt, found, value if value.ndim else float(value))


def layers(
    model: "Layer | str | Path",
    x: Inputs | None = None,
    *,
    layers: Patterns = (),
    attention: bool = False,
    rnn_steps: bool = False,
    rnn_gates: bool = False,
    preactivation: bool = False,
    layer_inputs: bool = False,
    signature: str | None = None,
    trust: bool = False,
    max_bytes: int | str | None = None,
) -> list[ListedTensor]:
    """Return what `activations` would give, without running the model: address, class, shape, dtype, sizes.

    `x` is needed only for a model that does not declare the shapes of its inputs; the other arguments are those of
    `activations`.
    """
    given = given_arrays(x) if x is not None else []
    captures = captures_of(attention, rnn_steps, rnn_gates, preactivation, layer_inputs)
    loaded = _loaded(model, signature, trust, max_bytes)
    return list(list_tensors(loaded, given, Selection(patterns_of(layers, model)), _warn, captures).tensors)


def _steps(count: int | None, learning_rate: float | None, optimizer: str, save_weights: bool) -> Steps | None:
    """Return the descent that was asked for; raises TfdumpError where only half of it was."""
    if (count is None) != (learning_rate is None):
        raise TfdumpError("steps and learning_rate belong together (for example steps=5, learning_rate=0.01)")
    name = optimizer_name(optimizer)
    keeps_weights = flag("save_weights", save_weights)
    number = whole_number("steps", count)
    if number is None or learning_rate is None:
        refuse_arguments({"optimizer": name != "SGD", "save_weights": keeps_weights}, "a descent (add steps)")
        return None
    return Steps(number, positive_number("learning_rate", learning_rate), name, keeps_weights)


def _loaded(
    model: "Layer | str | Path", signature: str | None, trust: bool, max_bytes: int | str | None
) -> "LoadedModel":
    refuse_symbolic(model, "model")
    trusted, limit = flag("trust", trust), byte_size("max_bytes", max_bytes)
    name = text("signature", signature, "serving_default")
    from tfdump.model.backend import choose_backend

    choose_backend()
    from tfdump.model.loading.load import in_memory, load_model

    if isinstance(model, (str, Path)):
        return load_model(Path(model), trust=trusted, signature=name, max_bytes=limit)
    refuse_arguments({"signature": name is not None}, "SavedModels and .tflite files, and this model is in memory")
    return in_memory(model)


def _warn(message: str) -> None:
    if not isinstance(message, Detail):
        warnings.warn(message, TfdumpWarning, stacklevel=3)
