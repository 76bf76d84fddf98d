"""`tfdump.activations` and `tfdump.layers`: the features of the command line, for models and arrays in memory."""

from pathlib import Path
from typing import TYPE_CHECKING

from tfdump.address import Selection
from tfdump.api.argument_names import errors_name_arguments
from tfdump.api.arguments import Inputs, Patterns, arrays_of, captures_of, patterns_of, selection_of
from tfdump.api.data import Data, Preprocess, data_for_inputs, options_of_data
from tfdump.api.models import backend_argument, loaded_model, warn
from tfdump.api.result import Activations, activations_until_nan, all_activations
from tfdump.inputs.data_options import DataOptions
from tfdump.inputs.source import ReadingOptions
from tfdump.run.activations.options import activation_options
from tfdump.run.activations.run import open_activations
from tfdump.run.batching import DEFAULT_MEMORY
from tfdump.run.layers import ListedTensor, list_tensors
from tfdump.run.options import run_options

if TYPE_CHECKING:
    from keras import Layer


@errors_name_arguments()
def activations(
    model: "Layer | str | Path",
    x: Data | None = None,
    *,
    data: DataOptions | None = None,
    preprocess: Preprocess | None = None,
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
    ops: bool = False,
    reduce: str | None = None,
    dtype: str | None = None,
    dequantize: bool = False,
    until_nan: bool = False,
    allow_inf: bool = False,
    like: "Layer | str | Path | None" = None,
    backend: str | None = None,
    backend_python: str | Path | None = None,
    signature: str | None = None,
    trust: bool = False,
    max_bytes: int | str | None = None,
) -> Activations:
    """Return the output of every layer of a model.

    The model is left unchanged.

    Parameters
    ----------
    model : keras.Layer, str or pathlib.Path
        A Keras model or layer in memory, or the path of a saved model: a `.keras` or HDF5 file, a SavedModel
        directory, a `.tflite` or an `.onnx` file.
    x : array_like, str, pathlib.Path, dict, tuple, list, tf.data.Dataset, keras.utils.PyDataset or callable, optional
        The inputs, with one row per example along the first axis: an array, or the path of any INPUT of the command
        line. For a model with several inputs, a dict of arrays by input name, or a tuple or list of arrays in order.
        Arrays are cast to the dtypes that the model declares. A data set, or a function that returns one, returns
        arrays or yields batches, gives `x` or `(x, y)` or `(x, y, sample_weight)`. It can be left out with `data` of
        random examples or of a function.
    data : tfdump.DataOptions, optional
        How data that is not arrays becomes arrays, such as `tfdump.DataOptions(random=8)` for random examples.
    preprocess : str, callable, iterable or dict, optional
        What is done with the values of the inputs before the model gets them: the name of a module of
        `keras.applications` (`"mobilenet_v2"`), numbers (`"scale=1/255"`, `"mean=0.5;std=0.25"`), or a function of a
        batch. An iterable has several steps in order, and a dict the steps of each input by its name.
    layers : str, keras.Layer or iterable of these, optional
        Only the tensors whose addresses match one of these patterns: an address (`block1.conv`), a glob (`block*`),
        `type:CLASS` or `re:REGEX`. A layer of a model in memory stands for its address. The default is all.
    exclude : str, keras.Layer or iterable of these, optional
        Patterns of tensors that are left out.
    depth : int, optional
        Only addresses of at most this many segments; `block1.conv` has two.
    batch_size : int, optional
        The number of examples that run at once. The default is the largest one that stays within `memory`, or 32 with
        `training`, where the values depend on it.
    memory : int or str, default 256 MiB
        The bytes that one batch may take, for the automatic batch size: a number, or a text such as `"2G"`.
    training : bool, default False
        Run the model in training mode, with dropout and batch statistics.
    seed : int, default 0
        The seed of random layers, from 0 to 2**32 - 1.
    eager : bool, default False
        Run without a graph. This is slower, and works for models that cannot be traced.
    attention : bool, default False
        Also return the scores of every attention layer, as `LAYER:attention_scores`.
    rnn_steps : bool, default False
        Also return the states of recurrent layers at every time step, as `LAYER:states.0`.
    rnn_gates : bool, default False
        Also return the gates of LSTM and GRU layers at every time step, as `LAYER:gates.forget`.
    preactivation : bool, default False
        Also return the input of the activation function of a layer, as `LAYER:preactivation`.
    layer_inputs : bool, default False
        Also return the inputs of every layer, as `LAYER:input`.
    ops : bool, default False
        Also return every operation inside the layers, as `LAYER:op.NAME`. SavedModels, `.tflite` and `.onnx`
        files always return them.
    reduce : str, optional
        Reduce each tensor, as `"OP:AXES"`: `mean`, `sum`, `max`, `min` or `norm`, over axis numbers (`"mean:1,2"`) or
        `spatial`, which is all axes but the first and the last. Without AXES, over all axes but the first.
    dtype : {'float16', 'float32', 'float64'}, optional
        The dtype of floating-point results. The default is the dtype in which the model computes them.
    dequantize : bool, default False
        For a quantized `.tflite` or `.onnx` file, return real numbers instead of integers.
    until_nan : bool, default False
        Run batch by batch until a selected tensor, a final output or an input holds NaN or infinity, and return only
        the first such example, as it was computed in its batch. The result is empty where all is clean.
    allow_inf : bool, default False
        With `until_nan`, stop at NaN only, for a model that masks with infinity on purpose.
    like : keras.Layer, str or pathlib.Path, optional
        For a `.tflite` file, the Keras model that it was converted from. Its addresses are given to the tensors of the
        file, by names, weights and dataflow.
    backend : {'tensorflow', 'jax', 'torch'}, optional
        Run a saved Keras model on this backend of Keras, eagerly and in a process of its own. The default is
        TensorFlow, in this process.
    backend_python : str or pathlib.Path, optional
        The Python interpreter of that process, whose environment has the backend, Keras 3.8 or newer, NumPy and h5py.
        The default is the interpreter of this process.
    signature : str, optional
        The signature of a SavedModel or `.tflite` file that has several.
    trust : bool, default False
        Let a saved model run code of its own, such as Lambda layers. A SavedModel directory needs it.
    max_bytes : int or str, optional
        The bytes that a model file may make this process hold. The default is a quarter of the memory.

    Returns
    -------
    Activations
        A dict of str to numpy.ndarray: the tensors by address, in execution order, each of shape `(examples, ...)`. A
        tensor without an axis of examples has the shape that the model gives it where it is the same for all batches,
        and otherwise `(batches, ...)`. The dtypes are those that the model computes, except for bfloat16 (returned as
        float32) and float8 (as float16). Text is an object array of `str`, or of `bytes` where some of it is not UTF-8
        or contains NUL. Ragged and sparse tensors are `tfdump.tensors.Ragged` and `tfdump.tensors.Sparse`. Batches of
        different shapes are a list of arrays. The attribute `ids` has the names of the examples, where the inputs have
        names. With `until_nan`, `example` is the number of the bad example in the input, and `origins` tells where NaN
        and infinity start.

    Raises
    ------
    TfdumpError
        Where an argument is not valid, a pattern matches nothing, the inputs do not fit the model, the model cannot be
        loaded or fails, or a file needs `trust`. Its subclasses are in `tfdump.errors`.

    Warns
    -----
    TfdumpWarning
        Where inputs were cast, layers were not captured, or values depend on the batch size.

    Examples
    --------
    >>> acts = tfdump.activations(model, x, layers="encoder.*")
    >>> acts["encoder.dense"].shape
    (100, 64)
    >>> bad = tfdump.activations(model, x, until_nan=True)
    >>> bad.example, bad.origins[0].tensor
    (17, 'activations/encoder.norm')

    """
    described = options_of_data(data, preprocess)
    options = activation_options(
        selection_of(model, layers, exclude, depth),
        run_options(batch_size, memory, training),
        captures=captures_of(attention, rnn_steps, rnn_gates, preactivation, layer_inputs, ops),
        reading=ReadingOptions(preprocess=described.preprocess),
        outputs=None if until_nan else False,
        dequantize=dequantize,
        until_nan=until_nan,
        allow_inf=allow_inf,
        seed=seed,
        eager=eager,
        reduce=reduce,
        dtype=dtype,
    )
    other = backend_argument(backend, backend_python)
    loaded = loaded_model(model, signature, trust, max_bytes, like, backend=other, seed=options.seed)
    with open_activations(loaded, data_for_inputs(x, described), options, warn) as run:
        returned = activations_until_nan if options.until_nan else all_activations
        return returned(run, "tfdump.activations")


@errors_name_arguments()
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
    ops: bool = False,
    like: "Layer | str | Path | None" = None,
    backend: str | None = None,
    backend_python: str | Path | None = None,
    signature: str | None = None,
    trust: bool = False,
    max_bytes: int | str | None = None,
) -> list[ListedTensor]:
    """List the tensors that `tfdump.activations` returns, without running the model.

    Parameters
    ----------
    model : keras.Layer, str or pathlib.Path
        A Keras model or layer in memory, or the path of a saved model.
    x : array_like, str, pathlib.Path, dict, tuple or list, optional
        Inputs as for `tfdump.activations`. They are needed only for a model that does not declare the shapes of its
        inputs.
    layers : str, keras.Layer or iterable of these, optional
        Only the tensors whose addresses match one of these patterns, as for `tfdump.activations`.
    attention : bool, default False
        Also list the scores of every attention layer, as `LAYER:attention_scores`.
    rnn_steps : bool, default False
        Also list the states of recurrent layers at every time step, as `LAYER:states.0`.
    rnn_gates : bool, default False
        Also list the gates of LSTM and GRU layers at every time step, as `LAYER:gates.forget`.
    preactivation : bool, default False
        Also list the input of the activation function of a layer, as `LAYER:preactivation`.
    layer_inputs : bool, default False
        Also list the inputs of every layer, as `LAYER:input`.
    ops : bool, default False
        Also list every operation inside the layers, as `LAYER:op.NAME`.
    like : keras.Layer, str or pathlib.Path, optional
        For a `.tflite` file, the Keras model whose addresses its tensors get.
    backend : {'tensorflow', 'jax', 'torch'}, optional
        Run a saved Keras model on this backend of Keras, eagerly and in a process of its own. The default is
        TensorFlow, in this process.
    backend_python : str or pathlib.Path, optional
        The Python interpreter of that process, whose environment has the backend, Keras 3.8 or newer, NumPy and h5py.
        The default is the interpreter of this process.
    signature : str, optional
        The signature of a SavedModel or `.tflite` file that has several.
    trust : bool, default False
        Let a saved model run code of its own, such as Lambda layers. A SavedModel directory needs it.
    max_bytes : int or str, optional
        The bytes that a model file may make this process hold. The default is a quarter of the memory.

    Returns
    -------
    list of tfdump.run.layers.ListedTensor
        One record per tensor in execution order, with the attributes `address`, `class_name`, `shape`, `dtype`,
        `parameters`, `example_bytes`, `inputs`, `operands`, `operation` and `source`. A shape has -1 for a size that is
        not known before the model runs.

    Raises
    ------
    TfdumpError
        Where an argument is not valid, a pattern matches nothing, the model cannot be loaded, or it does not declare
        the shapes of its inputs and there is no `x`.

    Warns
    -----
    TfdumpWarning
        Where inputs were cast.

    Examples
    --------
    >>> [(tensor.address, tensor.shape) for tensor in tfdump.layers(model)]
    [('hidden', (-1, 64)), ('predictions', (-1, 10))]

    """
    arrays = arrays_of(x) if x is not None else []
    captures = captures_of(attention, rnn_steps, rnn_gates, preactivation, layer_inputs, ops)
    other = backend_argument(backend, backend_python)
    loaded = loaded_model(model, signature, trust, max_bytes, like, backend=other)
    return list(list_tensors(loaded, arrays, Selection(patterns_of(layers, model)), warn, captures).tensors)
