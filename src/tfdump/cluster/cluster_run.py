"""What the functions for a cluster share: the job of their arguments, and running it on the workers of a client."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfdump.api.models import warn
from tfdump.argument_kinds import flag, shown, text, whole_number
from tfdump.dump.shards.folder import sweep
from tfdump.errors import TfdumpError
from tfdump.model.loading.options import LoadingOptions
from tfdump.run.options import byte_size
from tfdump.run.shards.job import ShardJob
from tfdump.run.shards.ranges import Division
from tfdump.run.shards.worker import read_job
from tfdump.workers.division import SHARDS_A_WORKER, told_once, with_threads
from tfdump.workers.library import check_library

if TYPE_CHECKING:
    from distributed import Client

Files = str | Path | Mapping[str, str | Path] | list[str | Path] | tuple[str | Path, ...]
"""The path of a file of inputs, several in order, or by the names of the inputs."""


Modules = str | Path | Iterable[str | Path]
"""A module or a `.py` file, or several."""


@dataclass(frozen=True)
class ShardedRunResult:
    """What became of a run in shards.

    Attributes
    ----------
    folder : pathlib.Path
        The folder of the shards, which `tfdump.open` reads as one dump.
    shards : int
        The number of shards, all of which are there.
    written : int
        How many of them were written now. The others were there before.
    """

    folder: Path
    shards: int
    written: int


def loading_options(
    model: Any, imports: Any, trust: Any, signature: Any, max_bytes: Any, threads: Any, like: Any = None
) -> LoadingOptions:
    """Return how the workers load the model; raises TfdumpError for an argument that is not valid."""
    modules = (imports,) if isinstance(imports, (str, Path)) else imports
    if not isinstance(modules, Iterable):
        raise TfdumpError(f"imports {shown(imports)} is neither a module nor a list of these (imports='layers.py')")
    return LoadingOptions(
        path_of("model", model),
        imports=tuple(path_of("imports", module) for module in modules),
        trust=flag("trust", trust),
        signature=text("signature", signature, "serving_default"),
        max_bytes=byte_size("max_bytes", max_bytes),
        like=None if like is None else path_of("like", like),
        threads=whole_number("threads", threads),
    )


def run_on_client(client: "Client", job: ShardJob, shard_examples: Any) -> ShardedRunResult:
    """Make the shards of a run, of about so many examples each, on the workers of a client."""
    division = Division(shard_examples=whole_number("shard_examples", shard_examples))
    check_library()
    from tfdump.workers.running_scheduler import check_client, check_versions, threads_of_workers, wait_for_workers
    from tfdump.workers.shards_on_workers import ShardsOnWorkers

    check_client(client)
    read_job(job)
    wait_for_workers(client, warn)
    check_versions(client)
    threads = threads_of_workers(client)
    run = ShardsOnWorkers(client, with_threads(job, min(threads)), told_once(warn))
    usual = Division(division.parts, division.shard_examples, SHARDS_A_WORKER * len(threads))
    manifest = run.plan(usual)
    try:
        written = run.make(manifest)
    finally:
        sweep(job.folder)
    return ShardedRunResult(job.folder, len(manifest.ranges), written)


def path_of(name: str, value: Any) -> Path:
    """Return the path that an argument is; raises TfdumpError for anything else."""
    if not isinstance(value, (str, Path)):
        raise TfdumpError(
            f"{name} {shown(value)} is not a path (workers read files: save it, and pass the path of the file)"
        )
    if value == "":
        raise TfdumpError(f"{name} is empty (name a file or a folder)")
    return Path(value)


def step_texts(preprocess: Any) -> Any:
    """Return the steps of each input as those of the command line, `INPUT=STEP`; all others as they are."""
    if not isinstance(preprocess, Mapping):
        return preprocess
    each = {name: (steps,) if isinstance(steps, str) else steps for name, steps in preprocess.items()}
    return [f"{name}={step}" if isinstance(step, str) else step for name, steps in each.items() for step in steps]


def arguments_of(files: Files, name: str = "x") -> tuple[str, ...]:
    """Return the arguments of the command line for files; `name` is that of the argument in Python."""
    if isinstance(files, Mapping):
        return tuple(f"{key}={path_of(f'{name}[{key!r}]', file)}" for key, file in files.items())
    if isinstance(files, (list, tuple)):
        return tuple(str(path_of(f"{name}[{number}]", file)) for number, file in enumerate(files))
    return (str(path_of(name, files)),)
