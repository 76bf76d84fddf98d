"""`tfdump.compare`: two models, or a model and a dump, over the same inputs."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfdump.api.argument_names import errors_name_arguments
from tfdump.api.data import Data, Preprocess, data_for_inputs, options_of_data
from tfdump.api.models import loaded_model, warn
from tfdump.argument_kinds import flag
from tfdump.comparison.diff import diff_options
from tfdump.comparison.verdict import DiffReport
from tfdump.dump.other_formats import is_dump
from tfdump.inputs.data_options import DataOptions
from tfdump.inputs.source import ReadingOptions
from tfdump.run.batching import DEFAULT_MEMORY
from tfdump.run.options import run_options, seed_number
from tfdump.side_by_side.opening import open_sides
from tfdump.side_by_side.options import DumpToCompare, ModelToCompare, SideBySideOptions, SideToCompare

if TYPE_CHECKING:
    from keras import Layer


@errors_name_arguments()
def compare_models(
    golden: "Layer | str | Path",
    new: "Layer | str | Path",
    x: Data | None = None,
    *,
    data: DataOptions | None = None,
    preprocess: Preprocess | None = None,
    first: bool = False,
    batch_size: int | None = None,
    memory: int | str = DEFAULT_MEMORY,
    seed: int = 0,
    golden_dequantize: bool = False,
    new_dequantize: bool = False,
    golden_signature: str | None = None,
    new_signature: str | None = None,
    trust: bool = False,
    max_bytes: int | str | None = None,
    **criteria: Any,
) -> DiffReport:
    """Compare two models, or a model and a dump, over the same inputs.

    Both sides run batch by batch, and every batch is judged as `tfdump.diff` judges two dumps. Nothing is stored, and
    the memory does not grow with the number of examples.

    Parameters
    ----------
    golden, new : keras.Layer, str or pathlib.Path
        The two sides: Keras models in memory, or paths of saved models. One of them may be the path of a dump of
        activations that was made with the same inputs.
    x : array_like, str, pathlib.Path, dict, tuple, list, tf.data.Dataset, keras.utils.PyDataset or callable, optional
        The inputs, as for `tfdump.activations`. Where the inputs of the models have different names, they correspond
        by order and shape.
    data : tfdump.DataOptions, optional
        How data that is not arrays becomes arrays, as for `tfdump.activations`.
    preprocess : str, callable, iterable or dict, optional
        What is done with the values of the inputs, as for `tfdump.activations`. Names of inputs are those of `golden`,
        or of `new` where `golden` is a dump.
    first : bool, default False
        Stop at the first batch that differs. The report is then about the examples up to there.
    batch_size : int, optional
        The number of examples that run at once. The default is the largest one that stays within `memory` on both
        sides. A model with a fixed batch size gets that size.
    memory : int or str, default 256 MiB
        The bytes that one batch of both sides may take, for the automatic batch size.
    seed : int, default 0
        The seed of random layers, from 0 to 2**32 - 1.
    golden_dequantize, new_dequantize : bool, default False
        For a quantized `.tflite` file on that side, compare real numbers instead of integers.
    golden_signature, new_signature : str, optional
        The signature of a SavedModel or `.tflite` file on that side that has several.
    trust : bool, default False
        Let saved models run code of their own, such as Lambda layers. A SavedModel directory needs it.
    max_bytes : int or str, optional
        The bytes that a model file may make this process hold. The default is a quarter of the memory.
    **criteria
        The keyword arguments of `tfdump.diff`, such as `rtol`, `min_cosine`, `allow_missing`, `layers` and `renamed`.

    Returns
    -------
    DiffReport
        The verdict on both sides and on every tensor, as `tfdump.diff` returns it.

    Raises
    ------
    TfdumpError
        Where an argument is not valid, a pattern matches nothing, the models take different inputs, the dump was made
        with other inputs or does not tell with which, a model cannot be loaded or fails, or there is nothing to
        compare.

    Warns
    -----
    TfdumpWarning
        Where inputs were cast, layers were not captured, or values depend on the batch size.

    Examples
    --------
    >>> report = tfdump.compare("model.keras", "model.tflite", x, rtol=1e-3)
    >>> report.same, report.first
    (True, None)

    """
    options = diff_options(**criteria)
    options.check()
    described = options_of_data(data, preprocess)
    running = SideBySideOptions(
        ReadingOptions(preprocess=described.preprocess),
        run_options(batch_size, memory, False),
        seed_number(seed),
        ignore_ids=options.ignore_ids,
    )
    stops = flag("first", first)
    load = partial(loaded_model, trust=trust, max_bytes=max_bytes)
    sides = [
        _side(golden, partial(load, golden, golden_signature), golden_dequantize, "golden"),
        _side(new, partial(load, new, new_signature), new_dequantize, "new"),
    ]
    with open_sides(sides[0], sides[1], data_for_inputs(x, described), running, warn) as pair:
        return pair.compare(options, stops)


def _side(model: "Layer | str | Path", load: Any, dequantize: bool, name: str) -> SideToCompare:
    """Return one side: a dump, or a model that is loaded when its turn comes."""
    dequantizes = flag(f"{name}_dequantize", dequantize)
    if isinstance(model, (str, Path)):
        return DumpToCompare(Path(model)) if is_dump(Path(model)) else ModelToCompare(str(model), load, dequantizes)
    return ModelToCompare(str(getattr(model, "name", name)), load, dequantizes)
