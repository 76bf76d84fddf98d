"""`tfdump.compare`: two models, or a model and a dump, over the same inputs."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfdump.api.argument_names import errors_name_arguments
from tfdump.api.data import Data, Preprocess, data_for_inputs, options_of_data
from tfdump.api.models import backend_argument, loaded_model, warn
from tfdump.argument_kinds import file_path, flag
from tfdump.comparison.diff import diff_options
from tfdump.comparison.options import DiffOptions
from tfdump.comparison.verdict import DiffReport
from tfdump.dump.other_formats import is_dump
from tfdump.errors import TfdumpError
from tfdump.inputs.data_options import DataOptions
from tfdump.inputs.source import ReadingOptions
from tfdump.run.batching import DEFAULT_MEMORY
from tfdump.run.options import run_options, seed_number
from tfdump.side_by_side.opening import open_sides
from tfdump.side_by_side.options import DumpToCompare, ModelToCompare, SideBySideOptions, SideToCompare
from tfdump.side_by_side.run import SideBySide
from tfdump.side_by_side.shrink.folder import check_shrink_folder
from tfdump.side_by_side.shrink.records import NothingShrunk, ShrinkRequest, SideSource
from tfdump.side_by_side.shrink.shrink import shrink_difference

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
    isolate: bool = False,
    influence: bool = False,
    batch_size: int | None = None,
    memory: int | str = DEFAULT_MEMORY,
    seed: int = 0,
    golden_dequantize: bool = False,
    new_dequantize: bool = False,
    golden_signature: str | None = None,
    new_signature: str | None = None,
    golden_backend: str | None = None,
    new_backend: str | None = None,
    golden_backend_python: str | Path | None = None,
    new_backend_python: str | Path | None = None,
    trust: bool = False,
    max_bytes: int | str | None = None,
    shrink: str | Path | None = None,
    force: bool = False,
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
    isolate : bool, default False
        Also tell which part of each error comes from the layer itself (`own_error` of a tensor, and `blame` of the
        report). One side has to be a Keras model; it runs once more, with the values of the other side.
    influence : bool, default False
        Also tell which part of the error of the outputs goes away if one layer alone is right (`influence` of a
        tensor). Implies `isolate`, and runs the Keras model once for each layer.
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
    golden_backend, new_backend : {'tensorflow', 'jax', 'torch'}, optional
        Run a Keras file on that side on this backend, in a process of its own.
    golden_backend_python, new_backend_python : str or pathlib.Path, optional
        The Python interpreter of that process: of an environment with that backend, or with another version of Keras.
    trust : bool, default False
        Let saved models run code of their own, such as Lambda layers. A SavedModel directory needs it.
    max_bytes : int or str, optional
        The bytes that a model file may make this process hold. The default is a quarter of the memory.
    shrink : str or pathlib.Path, optional
        A folder for a bug report. If the sides differ, it gets the fewest examples and the smallest part of the models
        that still differ, expected and seen values, and a README.
    force : bool, default False
        Replace an earlier folder of `shrink`.
    **criteria
        The keyword arguments of `tfdump.diff`, such as `rtol`, `min_sqnr`, `allow_missing`, `layers` and `renamed`.

    Returns
    -------
    DiffReport
        The verdict on both sides and on every tensor, as `tfdump.diff` returns it.

    Raises
    ------
    TfdumpError
        Where an argument is not valid, a pattern matches nothing, the models take different inputs, the dump was made
        with other inputs or does not tell with which, a model cannot be loaded or fails, there is nothing to compare,
        or errors are to be isolated and no side is a Keras model.

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
        isolate=flag("isolate", isolate),
        influence=flag("influence", influence),
    )
    stops = flag("first", first)
    load = partial(loaded_model, trust=trust, max_bytes=max_bytes, seed=running.seed)
    golden_other = backend_argument(golden_backend, golden_backend_python, "golden_")
    new_other = backend_argument(new_backend, new_backend_python, "new_")
    if shrink is not None and (golden_other or new_other):
        raise TfdumpError(
            "shrink writes parts of models that run in this process, so it does not go with --golden-backend and "
            "--new-backend (leave one of them out)"
        )
    sides = [
        _side(golden, partial(load, golden, golden_signature, backend=golden_other), golden_dequantize, "golden"),
        _side(new, partial(load, new, new_signature, backend=new_other), new_dequantize, "new"),
    ]
    request = (
        None if shrink is None else _request(shrink, force, (golden, new), sides, (golden_signature, new_signature))
    )
    with open_sides(sides[0], sides[1], data_for_inputs(x, described), running, warn) as pair:
        report = pair.compare(options, stops)
        if request is not None:
            _shrink(pair, report, options, request)
        return report


def _side(model: "Layer | str | Path", load: Any, dequantize: bool, name: str) -> SideToCompare:
    """Return one side: a dump, or a model that is loaded when its turn comes."""
    dequantizes = flag(f"{name}_dequantize", dequantize)
    if isinstance(model, (str, Path)):
        return DumpToCompare(Path(model)) if is_dump(Path(model)) else ModelToCompare(str(model), load, dequantizes)
    return ModelToCompare(str(getattr(model, "name", name)), load, dequantizes)


def _request(
    folder: str | Path,
    force: bool,
    models: "tuple[Layer | str | Path, Layer | str | Path]",
    sides: Sequence[SideToCompare],
    signatures: tuple[str | None, str | None],
) -> ShrinkRequest:
    """Return what is asked of a shrunk difference; raises TfdumpError where the folder cannot be written."""
    path = file_path("shrink", folder, "a folder that does not exist")
    check_shrink_folder(path, flag("force", force))
    sources = [
        SideSource(
            Path(model) if isinstance(model, (str, Path)) else None,
            isinstance(side, ModelToCompare) and side.dequantize,
            signature,
        )
        for model, side, signature in zip(models, sides, signatures, strict=True)
    ]
    return ShrinkRequest(path, force, sources[0], sources[1])


def _shrink(pair: SideBySide, report: DiffReport, options: DiffOptions, request: ShrinkRequest) -> None:
    """Write the folder with what differs; warn where nothing can be written although the sides differ."""
    try:
        for note in shrink_difference(pair, report, options, request).notes:
            warn(note)
    except NothingShrunk as cause:
        if not report.same:
            warn(f"nothing was written to {request.folder}: {cause}")
