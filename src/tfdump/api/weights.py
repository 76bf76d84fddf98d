"""`tfdump.weights`: the feature of the command line, for models in memory and saved ones."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tfdump.api.argument_names import errors_name_arguments
from tfdump.api.arguments import Patterns, selection_of
from tfdump.api.models import loaded_model, warn
from tfdump.argument_kinds import text
from tfdump.dump import layout
from tfdump.dump.reader import Dump
from tfdump.run.options import byte_size
from tfdump.run.weights import plan_weights, weight_options
from tfdump.tensors import Array

if TYPE_CHECKING:
    from keras import Layer

    from tfdump.model.loading.loaded_model import LoadedModel


class Weights(dict[str, Array]):
    """Weights by address, in the order in which the layers are called.

    Attributes
    ----------
    attributes : dict of str to dict
        What else is known about each weight, by its address: `trainable`, `class`, `dtype`, and `scale` and
        `zero_point` of a quantized one; see the page on the format of dumps.
    optimizer : dict of str to numpy.ndarray
        With `optimizer`, the variables of the optimizer: `iteration`, and `SLOT/ADDRESS` for what it holds of a weight.

    """

    def __init__(self, dump: Dump) -> None:
        super().__init__()
        self.attributes: dict[str, dict[str, Any]] = {}
        self.optimizer: dict[str, Array] = {}
        for tensor in dump.tensors():
            if tensor.group == layout.WEIGHTS:
                self[tensor.address] = np.asarray(tensor.read())
                self.attributes[tensor.address] = dict(tensor.attributes)
            else:
                slot = tensor.group.removeprefix(layout.OPTIMIZER).lstrip("/")
                self.optimizer[f"{slot}/{tensor.address}" if slot else tensor.address] = np.asarray(tensor.read())


@errors_name_arguments()
def weights(
    model: "Layer | str | Path",
    *,
    layers: Patterns = (),
    exclude: Patterns = (),
    depth: int | None = None,
    dequantize: bool = False,
    optimizer: bool = False,
    dtype: str | None = None,
    like: "Layer | str | Path | None" = None,
    signature: str | None = None,
    trust: bool = False,
    max_bytes: int | str | None = None,
) -> Weights:
    """Return the weights of a model, under the addresses that `tfdump.gradients` gives them.

    The model is not run, and is left unchanged.

    Parameters
    ----------
    model : keras.Layer, str or pathlib.Path
        A Keras model or layer in memory, or the path of a saved model or of a file of weights alone.
    layers : str, keras.Layer or iterable of these, optional
        Only the weights whose addresses or layers match one of these patterns, as for `tfdump.activations`.
    exclude : str, keras.Layer or iterable of these, optional
        Patterns of weights that are left out.
    depth : int, optional
        Only weights of layers whose addresses have at most this many segments.
    dequantize : bool, default False
        Return quantized weights as the real numbers that they stand for.
    optimizer : bool, default False
        Also return the variables of the optimizer.
    dtype : {'float16', 'float32', 'float64'}, optional
        The dtype of floating-point results. The default is the dtype of the weight.
    like : keras.Layer, str or pathlib.Path, optional
        For a file of weights alone or a `.tflite` file, the Keras model whose addresses the weights get.
    signature : str, optional
        The signature of a SavedModel or `.tflite` file that has several.
    trust : bool, default False
        Let a saved model run code of its own, such as Lambda layers.
    max_bytes : int or str, optional
        The bytes that a model file may make this process hold. The default is a quarter of the memory.

    Returns
    -------
    Weights
        A dict of str to numpy.ndarray: the weights by address. Weights that are not trainable are among them, random
        states and metrics are not. bfloat16 is returned as float32, float8 as float16, and int4 as int8.

    Raises
    ------
    TfdumpError
        Where an argument is not valid, a pattern matches nothing, the model cannot be loaded or has no weights, or a
        file needs `trust`.

    Warns
    -----
    TfdumpWarning
        Where a weight could not be read, or addresses may not be those of `tfdump.gradients`.

    Examples
    --------
    >>> kernels = tfdump.weights("model.keras", layers="conv*")
    >>> kernels["conv1.kernel"].shape
    (3, 3, 1, 16)

    """
    options = weight_options(
        selection_of(model, layers, exclude, depth), dequantize=dequantize, optimizer=optimizer, dtype=dtype
    )
    with _loaded(model, like, signature, trust, max_bytes) as loaded:
        run = plan_weights(loaded, options, warn)
        writer = run.open_writer(None, force=False)
        try:
            run.write(writer, "tfdump.weights")
            return Weights(Dump(writer.file, "the weights"))
        finally:
            writer.abort()


@contextmanager
def _loaded(
    model: Any, like: Any, signature: str | None, trust: bool, max_bytes: int | str | None
) -> "Iterator[LoadedModel]":
    """Return a model, or a file of weights alone, which the model `like` gets while the body runs."""
    if not isinstance(model, (str, Path)):
        yield loaded_model(model, signature, trust, max_bytes, like)
        return
    from tfdump.model.weights.opening import Loaders, opened_for_weights

    limit, name = byte_size("max_bytes", max_bytes), text("signature", signature, "serving_default")
    loaders = Loaders(
        partial(loaded_model, model, signature, trust, max_bytes, like),
        None if like is None else lambda wanted: loaded_model(like, wanted, trust, max_bytes),
        _start_tensorflow,
    )
    with opened_for_weights(Path(model), loaders, name, limit) as loaded:
        yield loaded


def _start_tensorflow() -> None:
    from tfdump.model.backend import choose_backend

    choose_backend()
