"""`tfdump.cluster.activations`: activations in shards on the workers of a Dask cluster."""

from pathlib import Path
from typing import TYPE_CHECKING

from tfdump.api.argument_names import errors_name_arguments
from tfdump.api.arguments import Patterns, captures_of, selection_of
from tfdump.api.data import Preprocess, options_of_data
from tfdump.cluster.cluster_run import (
    Files,
    Modules,
    ShardedRunResult,
    arguments_of,
    loading_options,
    path_of,
    run_on_client,
    step_texts,
)
from tfdump.inputs.data_options import DataOptions
from tfdump.inputs.source import ReadingOptions
from tfdump.run.activations.options import activation_options
from tfdump.run.batching import DEFAULT_MEMORY
from tfdump.run.options import run_options
from tfdump.run.shards.job import ShardJob

if TYPE_CHECKING:
    from distributed import Client


@errors_name_arguments()
def activations(
    client: "Client",
    model: str | Path,
    x: Files | None = None,
    *,
    shards: str | Path,
    shard_examples: int | None = None,
    threads: int | None = None,
    examples: tuple[int | None, int | None] = (None, None),
    data: DataOptions | None = None,
    preprocess: Preprocess | None = None,
    layers: Patterns = (),
    exclude: Patterns = (),
    depth: int | None = None,
    batch_size: int | None = None,
    memory: int | str = DEFAULT_MEMORY,
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
    stats: bool | str = False,
    stats_only: bool = False,
    save_inputs: bool = False,
    outputs: bool | None = None,
    compression: str = "none",
    checksums: bool = False,
    dequantize: bool = False,
    like: str | Path | None = None,
    imports: Modules = (),
    signature: str | None = None,
    trust: bool = False,
    max_bytes: int | str | None = None,
) -> ShardedRunResult:
    """Write the output of every layer of a model to a folder of shards, on the workers of a Dask cluster.

    The workers read the inputs and write the shards themselves, so all files must be on a disk that every worker and
    this process share. Called again after an interruption, it makes the shards that are missing.

    Parameters
    ----------
    client : dask.distributed.Client
        The client of the cluster. It is not asynchronous, and stays open.
    model : str or pathlib.Path
        The path of a saved model: a `.keras` or HDF5 file, a SavedModel directory, a `.tflite` or an `.onnx` file.
    x : str, pathlib.Path, dict, list or tuple of these, optional
        The path of any INPUT of the command line that can be read in parts. For a model with several inputs, a dict of
        paths by input name, or several in order. It can be left out with `data` of random examples or of a function.
    shards : str or pathlib.Path
        The folder of the shards, which is made where it is missing.
    shard_examples : int, optional
        The number of examples of a shard, rounded up to the batch size. The default makes 8 shards for each worker.
    threads : int, optional
        The threads with which each worker computes. The default is the number that Dask gives it.
    examples : tuple of (int, int), optional
        Only the examples from the first number up to the second one, either of which may be None.
    data : tfdump.DataOptions, optional
        How data that is not arrays becomes arrays.
    preprocess : str, iterable or dict, optional
        As for `tfdump.activations`. A function is `"FILE.py:FUNCTION"`, because workers do not have those of this
        process.
    layers, exclude : str or iterable of str, optional
        Patterns of the tensors that are stored, and of those that are left out, as for `tfdump.activations`.
    depth : int, optional
        Only addresses of at most this many segments.
    batch_size : int, optional
        The number of examples that run at once. The default is the largest one that stays within `memory`.
    memory : int or str, default 256 MiB
        The bytes that one batch may take, for the automatic batch size.
    seed : int, default 0
        The seed of random data.
    eager : bool, default False
        Run without a graph.
    attention, rnn_steps, rnn_gates, preactivation, layer_inputs, ops : bool, default False
        More tensors, as for `tfdump.activations`.
    reduce : str, optional
        Reduce each tensor, as `"OP:AXES"`.
    dtype : {'float16', 'float32', 'float64'}, optional
        The dtype in which floats are stored.
    stats : bool or 'quantiles', default False
        Store statistics of each tensor too; with `'quantiles'`, also a histogram, from which `tfdump.ranges` tells
        percentiles.
    stats_only : bool, default False
        Store statistics and no values.
    save_inputs : bool, default False
        Store the inputs too.
    outputs : bool, optional
        Store the final outputs, or not. The default stores them where no layer is selected.
    compression : {'none', 'gzip', 'zstd'}, default 'none'
        How values are compressed.
    checksums : bool, default False
        Store a CRC-32 of each tensor too.
    dequantize : bool, default False
        For a quantized `.tflite` or `.onnx` file, store real numbers instead of integers.
    like : str or pathlib.Path, optional
        For a `.tflite` file, the Keras model that it was converted from.
    imports : str, pathlib.Path or iterable of these, optional
        Modules or `.py` files that every worker imports first, because they define layers of the model.
    signature : str, optional
        The signature of a SavedModel or `.tflite` file that has several.
    trust : bool, default False
        Let the saved model run code of its own on the workers.
    max_bytes : int or str, optional
        The bytes that a model file may make a worker hold. The default is a quarter of its memory.

    Returns
    -------
    tfdump.cluster.ShardedRunResult
        The folder and the number of shards.

    Raises
    ------
    TfdumpError
        Where an argument is not valid, the run cannot be divided, a worker has other versions or cannot read a file,
        and where shards could not be made; all others have been made then.

    Warns
    -----
    TfdumpWarning
        Where inputs were cast, and while there are no workers.

    Examples
    --------
    >>> made = tfdump.cluster.activations(client, "model.keras", "x.npy", shards="features", layers="pool")
    >>> made.shards, made.written
    (16, 16)

    """
    described = options_of_data(data, step_texts(preprocess))
    options = activation_options(
        selection_of(None, layers, exclude, depth),
        run_options(batch_size, memory, False),
        captures=captures_of(attention, rnn_steps, rnn_gates, preactivation, layer_inputs, ops),
        reading=ReadingOptions(preprocess=described.preprocess, examples=examples),
        outputs=outputs,
        dequantize=dequantize,
        seed=seed,
        eager=eager,
        reduce=reduce,
        dtype=dtype,
        stats=stats,
        stats_only=stats_only,
        save_inputs=save_inputs,
        compression=compression,
        checksums=checksums,
    )
    job = ShardJob(
        kind="activations",
        model=loading_options(model, imports, trust, signature, max_bytes, threads, like),
        inputs=() if x is None else arguments_of(x),
        data=described,
        options=options,
        command="tfdump.cluster.activations",
        folder=path_of("shards", shards),
    )
    return run_on_client(client, job, shard_examples)
