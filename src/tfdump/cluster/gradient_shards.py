"""`tfdump.cluster.gradients`: gradients in shards on the workers of a Dask cluster."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from tfdump.api.argument_names import errors_name_arguments
from tfdump.api.arguments import Patterns, loss_names, selection_of
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
from tfdump.errors import TfdumpError
from tfdump.inputs.data_options import DataOptions
from tfdump.inputs.source import ReadingOptions
from tfdump.run.batching import DEFAULT_MEMORY
from tfdump.run.gradients.options import gradient_options
from tfdump.run.options import run_options
from tfdump.run.shards.job import ShardJob

if TYPE_CHECKING:
    from distributed import Client


@errors_name_arguments()
def gradients(
    client: "Client",
    model: str | Path,
    x: Files | None = None,
    y: Files | None = None,
    *,
    shards: str | Path,
    shard_examples: int | None = None,
    threads: int | None = None,
    examples: tuple[int | None, int | None] = (None, None),
    data: DataOptions | None = None,
    preprocess: Preprocess | None = None,
    loss: str | Mapping[str, str] | Iterable[str] | None = None,
    objective: str | None = None,
    from_logits: bool = False,
    sample_weight: Files | None = None,
    reduction: str | None = None,
    wrt: Patterns = ("weights",),
    layers: Patterns = (),
    exclude: Patterns = (),
    depth: int | None = None,
    per_example: bool = False,
    ops: bool = False,
    norms_only: bool = False,
    sparse: bool = False,
    loss_scale: float = 1.0,
    batch_size: int | None = None,
    memory: int | str = DEFAULT_MEMORY,
    seed: int = 0,
    eager: bool = False,
    dtype: str | None = None,
    stats: bool | str = False,
    stats_only: bool = False,
    compression: str = "none",
    checksums: bool = False,
    imports: Modules = (),
    signature: str | None = None,
    trust: bool = False,
    max_bytes: int | str | None = None,
) -> ShardedRunResult:
    """Write the gradients of the loss of a model to a folder of shards, on the workers of a Dask cluster.

    The loss is that of all examples of all shards together, as for `tfdump.gradients`. The workers read the inputs and
    write the shards themselves, so all files must be on a disk that every worker and this process share. Called again
    after an interruption, it makes the shards that are missing.

    Parameters
    ----------
    client : dask.distributed.Client
        The client of the cluster. It is not asynchronous, and stays open.
    model : str or pathlib.Path
        The path of a saved model: a `.keras` or HDF5 file, or a SavedModel directory.
    x, y, sample_weight : str, pathlib.Path, dict, list or tuple of these, optional
        The paths of the inputs, of the targets, and of the weights of the examples. For several inputs or outputs, a
        dict of paths by name, or several in order. Without `y`, what `x` holds beyond the inputs is the targets.
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
        As for `tfdump.gradients`. A function is `"FILE.py:FUNCTION"`, because workers do not have those of this
        process.
    loss : str, dict or list of str, optional
        The name of a Keras loss; for several outputs, a dict by output, or a list of texts `OUTPUT=NAME`. The default
        is the loss that the model was compiled with.
    objective : str, optional
        What is differentiated instead of a loss: `"sum"`, `"mean"`, `"max"` or `"OUTPUT[INDEX]"`.
    from_logits : bool, default False
        The output is logits and not probabilities; for a `loss` by name.
    reduction : {'mean', 'sum'}, optional
        How the losses of the examples are put together.
    wrt : str or iterable of str, default ('weights',)
        With respect to what: `"weights"`, `"activations"` or `"inputs"`.
    layers, exclude : str or iterable of str, optional
        Patterns of the gradients that are stored, and of those that are left out.
    depth : int, optional
        Only addresses of at most this many segments.
    per_example, ops, norms_only, sparse : bool, default False
        As for `tfdump.gradients`.
    loss_scale : float, default 1.0
        A factor of the loss that is divided out of the gradients, against underflow in float16.
    batch_size : int, optional
        The number of examples that run at once. The default is the largest one that stays within `memory`.
    memory : int or str, default 256 MiB
        The bytes that one batch may take, for the automatic batch size.
    seed : int, default 0
        The seed of random data.
    eager : bool, default False
        Run without a graph.
    dtype : {'float16', 'float32', 'float64'}, optional
        The dtype in which floats are stored.
    stats : bool or 'quantiles', default False
        Store statistics of each tensor too; with `'quantiles'`, also a histogram, from which `tfdump.ranges` tells
        percentiles.
    stats_only : bool, default False
        Store statistics and no values.
    compression : {'none', 'gzip', 'zstd'}, default 'none'
        How values are compressed.
    checksums : bool, default False
        Store a CRC-32 of each tensor too.
    imports : str, pathlib.Path or iterable of these, optional
        Modules or `.py` files that every worker imports first, because they define layers of the model.
    signature : str, optional
        The signature of a SavedModel that has several.
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
    >>> made = tfdump.cluster.gradients(client, "model.keras", "x.npy", "y.npy", shards="gradients", loss="mse")
    >>> with tfdump.open(made.folder) as dump:
    ...     kernel = dump["dense.kernel"].read()

    """
    names, objects = loss_names(loss)
    if objects:
        raise TfdumpError("loss is an object of this process, which workers do not have (name a loss of Keras)")
    described = options_of_data(data, step_texts(preprocess))
    options = gradient_options(
        selection_of(None, layers, exclude, depth),
        run_options(batch_size, memory, False),
        reading=ReadingOptions(preprocess=described.preprocess, examples=examples),
        wrt=wrt,
        losses=names,
        objective=objective,
        from_logits=from_logits,
        reduction=reduction,
        per_example=per_example,
        ops=ops,
        norms_only=norms_only,
        sparse=sparse,
        loss_scale=loss_scale,
        seed=seed,
        eager=eager,
        dtype=dtype,
        compression=compression,
        checksums=checksums,
        stats=stats,
        stats_only=stats_only,
    )
    options.check()
    job = ShardJob(
        kind="gradients",
        model=loading_options(model, imports, trust, signature, max_bytes, threads),
        inputs=() if x is None else arguments_of(x),
        data=described,
        options=options,
        command="tfdump.cluster.gradients",
        folder=path_of("shards", shards),
        targets=() if y is None else arguments_of(y, "y"),
        sample_weight=() if sample_weight is None else arguments_of(sample_weight, "sample_weight"),
    )
    return run_on_client(client, job, shard_examples)
