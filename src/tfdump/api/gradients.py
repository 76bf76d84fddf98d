"""`tfdump.gradients`: the feature of the command line, for models and arrays in memory."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfdump.api.argument_names import errors_name_arguments
from tfdump.api.arguments import Inputs, Patterns, arrays_of, loss_names, optimizer_name, selection_of
from tfdump.api.data import Data, Preprocess, data_for_inputs, options_of_data
from tfdump.api.models import loaded_model, warn
from tfdump.dump import layout
from tfdump.dump.reader import Dump
from tfdump.inputs.data_options import DataOptions
from tfdump.inputs.source import ReadingOptions
from tfdump.run.batching import DEFAULT_MEMORY
from tfdump.run.gradients.options import DEFAULT_OPTIMIZER, descent_steps, gradient_options
from tfdump.run.gradients.run import open_gradients
from tfdump.run.options import run_options

if TYPE_CHECKING:
    from keras import Layer
    from keras.losses import Loss

_GROUPS = {
    "weights": layout.WEIGHT_GRADIENTS,
    "activations": layout.ACTIVATION_GRADIENTS,
    "inputs": layout.INPUT_GRADIENTS,
    "step_weights": layout.WEIGHTS,
}


class Gradients(Mapping[str, Any]):
    """Gradients by address, and the loss.

    The keys are the addresses for the first kind of `wrt`, and `kind/address` for the other kinds. The values are NumPy
    arrays, or None for what the loss does not depend on.

    Attributes
    ----------
    loss : float or numpy.ndarray
        The loss of all examples together, or a float64 array with one loss per step or per example.
    weights, activations, inputs : dict of str to numpy.ndarray or None
        The gradients of each kind by address; empty for a kind that is not in `wrt`.
    step_weights : dict of str to numpy.ndarray
        The weights before each step by address, of shape `(steps, ...)`; empty without `save_weights`.

    """

    def __init__(self, kinds: Sequence[str], by_kind: Mapping[str, dict[str, Any]], loss: Any) -> None:
        self.loss = loss
        self.weights = by_kind.get("weights", {})
        self.activations = by_kind.get("activations", {})
        self.inputs = by_kind.get("inputs", {})
        self.step_weights = by_kind.get("step_weights", {})
        self._by_key = {
            address if number == 0 else f"{kind}/{address}": value
            for number, kind in enumerate(kinds)
            for address, value in by_kind.get(kind, {}).items()
        }

    def __getitem__(self, key: str) -> Any:
        return self._by_key[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_key)

    def __len__(self) -> int:
        return len(self._by_key)


@errors_name_arguments()
def gradients(
    model: "Layer | str | Path",
    x: Data | None = None,
    y: Inputs | None = None,
    *,
    data: DataOptions | None = None,
    preprocess: Preprocess | None = None,
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
    ops: bool = False,
    norms_only: bool = False,
    sparse: bool = False,
    steps: int | None = None,
    learning_rate: float | None = None,
    optimizer: str = DEFAULT_OPTIMIZER,
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
    """Return the gradients of the loss of a model, for all examples together.

    The loss is the one that Keras computes with all examples in one batch, whatever `batch_size` is. The model is left
    unchanged, also by `steps`.

    Parameters
    ----------
    model : keras.Layer, str or pathlib.Path
        A Keras model or layer in memory, or the path of a saved model: a `.keras` or HDF5 file, or a SavedModel
        directory, which has gradients with respect to `inputs` only.
    x : array_like, str, pathlib.Path, dict, tuple, list, tf.data.Dataset, keras.utils.PyDataset or callable, optional
        The inputs, with one row per example along the first axis: an array, or the path of any INPUT of the command
        line. For a model with several inputs, a dict of arrays by input name, or a tuple or list of arrays in order. A
        data set, or a function that returns one, returns arrays or yields batches, gives `(x, y)` or
        `(x, y, sample_weight)`. It can be left out with `data` of random examples or of a function.
    y : array_like, str, pathlib.Path, dict, tuple or list, optional
        The targets, with one row per example; for several outputs as for several inputs, by output. An `objective`
        has none. Those of a data set or function are used where this is left out.
    data : tfdump.DataOptions, optional
        How data that is not arrays becomes arrays, such as `tfdump.DataOptions(random=8)` for random examples.
    preprocess : str, callable, iterable or dict, optional
        What is done with the values of the inputs, as for `tfdump.activations`.
    loss : str, keras.losses.Loss, callable, dict or list of str, optional
        The name of a Keras loss (`"mse"`), a loss object, or a function of `(y_true, y_pred)`. For several outputs, a
        dict of these by output, or a list of texts `OUTPUT=NAME`. The default is the loss that the model was compiled
        with, with its regularization.
    objective : str, optional
        What is differentiated instead of a loss, summed over the examples: `"sum"`, `"mean"` or `"max"` of the output,
        or one element of it, `"OUTPUT[INDEX]"` (`"predictions[3]"`).
    from_logits : bool, default False
        The output is logits and not probabilities; for a `loss` by name.
    sample_weight : array_like, str, pathlib.Path or dict, optional
        The weight of each example, of shape `(examples,)`, or a dict of such arrays by output.
    reduction : {'mean', 'sum'}, optional
        How the losses of the examples are put together. The default is `"mean"`, as the loss divides, and `"sum"` for
        an `objective`.
    wrt : str or iterable of str, default ('weights',)
        With respect to what: `"weights"`, `"activations"` or `"inputs"`.
    layers : str, keras.Layer or iterable of these, optional
        Only the gradients whose addresses match one of these patterns: an address (`block1.conv`), a glob (`block*`),
        `type:CLASS` or `re:REGEX`. A layer of a model in memory stands for its address. The default is all.
    exclude : str, keras.Layer or iterable of these, optional
        Patterns of gradients that are left out.
    depth : int, optional
        Only addresses of at most this many segments; `block1.conv` has two.
    per_example : bool, default False
        Return the gradient of each example's own loss, without regularization.
    ops : bool, default False
        Also return the gradients of every operation inside the layers, as `LAYER:op.NAME`. It needs
        `wrt="activations"`.
    norms_only : bool, default False
        Return L2 norms instead of gradients.
    sparse : bool, default False
        Return the gradients of embedding tables as `tfdump.tensors.Sparse`, with only the rows that were looked up.
    steps : int, optional
        Do this many steps of gradient descent, and return the gradients of each step. It needs `learning_rate`.
    learning_rate : float, optional
        The learning rate of the descent.
    optimizer : str, default 'SGD'
        The name of the Keras optimizer of the descent, which has its default settings.
    save_weights : bool, default False
        Also return the weights before each step.
    loss_scale : float, default 1.0
        A factor of the loss that is divided out of the gradients, against underflow in float16.
    batch_size : int, optional
        The number of examples that run at once. The default is the largest one that stays within `memory`, or 32 with
        `training`.
    memory : int or str, default 256 MiB
        The bytes that one batch may take, for the automatic batch size: a number, or a text such as `"2G"`.
    training : bool, default False
        Run the model in training mode, with dropout and batch statistics.
    seed : int, default 0
        The seed of random layers, from 0 to 2**32 - 1.
    eager : bool, default False
        Run without a graph. This is slower, and works for models that cannot be traced.
    dtype : {'float16', 'float32', 'float64'}, optional
        The dtype of the results. The default is the dtype of each weight, activation or input.
    signature : str, optional
        The signature of a SavedModel that has several.
    trust : bool, default False
        Let a saved model run code of its own, such as Lambda layers. A SavedModel directory needs it.
    max_bytes : int or str, optional
        The bytes that a model file may make this process hold. The default is a quarter of the memory.

    Returns
    -------
    Gradients
        A mapping of addresses to arrays, with the attribute `loss`. The gradient of a weight has the shape of the
        weight, with a leading axis of the examples for `per_example`, and of the steps for `steps`. The gradients of
        activations and inputs have one row per example. The dtypes are those of the weights, activations and inputs,
        except for bfloat16, which is returned as float32. With `norms_only`, a weight has one number, and an activation
        or input one per example.

    Raises
    ------
    TfdumpError
        Where an argument is not valid, arguments exclude each other, a pattern matches nothing, the inputs or targets
        do not fit the model, or there is nothing to differentiate. Its subclasses are in `tfdump.errors`.

    Warns
    -----
    TfdumpWarning
        Where inputs were cast, layers were not captured, gradients are not connected with the loss, or the loss or a
        gradient is NaN or infinite.

    Examples
    --------
    >>> grads = tfdump.gradients(model, x, y, loss="mse", wrt=("weights", "inputs"))
    >>> grads["dense.kernel"].shape, grads["inputs/x"].shape, grads.loss
    ((4, 3), (100, 4), 0.25)

    """
    names, custom = loss_names(loss)
    optimizer = optimizer_name(optimizer)
    described = options_of_data(data, preprocess)
    options = gradient_options(
        selection_of(model, layers, exclude, depth),
        run_options(batch_size, memory, training),
        reading=ReadingOptions(preprocess=described.preprocess),
        wrt=wrt,
        losses=names,
        objective=objective,
        from_logits=from_logits,
        reduction=reduction,
        per_example=per_example,
        ops=ops,
        norms_only=norms_only,
        sparse=sparse,
        steps=descent_steps(steps, learning_rate, None if optimizer == DEFAULT_OPTIMIZER else optimizer, save_weights),
        loss_scale=loss_scale,
        seed=seed,
        eager=eager,
        dtype=dtype,
    )
    loaded = loaded_model(model, signature, trust, max_bytes)
    loaded = replace(loaded, custom={**loaded.custom, **custom})
    targets = [] if y is None else arrays_of(y, "target")
    weights = [] if sample_weight is None else arrays_of(sample_weight, "sample weight")
    with open_gradients(loaded, [("x", data_for_inputs(x, described))], targets, weights, options, warn) as run:
        writer = run.open_writer(None, force=False)
        try:
            value = run.write(writer, "tfdump.gradients").values
            by_kind = _by_kind(Dump(writer.file, "the gradients"))
        finally:
            writer.abort()
    return Gradients(options.wrt, by_kind, value if value.ndim else float(value))


def _by_kind(dump: Dump) -> dict[str, dict[str, Any]]:
    """Return the gradients of a dump, and the weights before each step, by kind and address."""
    return {
        kind: {
            address: tensor.read() if tensor.connected else None
            for address in dump.groups.get(group, ())
            for tensor in [dump[f"{group}/{address}"]]
        }
        for kind, group in _GROUPS.items()
    }
