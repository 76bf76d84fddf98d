"""What cannot be divided into shards, and why: each refusal says what to do instead."""

import stat

from tfdump.errors import InputError, TfdumpError
from tfdump.files.paths import exists
from tfdump.inputs.arguments import input_files, reads_stdin
from tfdump.inputs.identity import labels_only_in_order
from tfdump.inputs.source import Source
from tfdump.run.gradients.options import GradientOptions
from tfdump.run.resume import RepeatableProbe
from tfdump.run.shards.job import ShardJob
from tfdump.tensors import listed

_INSTEAD = "leave --shards out: one run goes over all examples in order"


def check_job(job: ShardJob) -> None:
    """Raise TfdumpError for options and data that cannot be divided, before anything is loaded."""
    if job.options.run.training:
        raise TfdumpError(
            "--shards excludes --training, with which each batch changes the numbers that the model gives for the next "
            f"one ({_INSTEAD})"
        )
    if isinstance(job.options, GradientOptions) and job.options.steps is not None:
        raise TfdumpError(
            f"--shards excludes --steps, because each step needs the gradient of all examples ({_INSTEAD})"
        )
    if reads_stdin(job.arguments):
        raise InputError("--shards needs inputs that every process can read, and - is standard input (give a file)")
    for path in input_files(job.arguments):
        if exists(path) and stat.S_ISFIFO(path.stat().st_mode):
            raise InputError(f"--shards needs inputs that every process can read, and {path} is a pipe (give a file)")


def check_source(source: Source) -> None:
    """Raise InputError for data of which no part can be read alone."""
    for label in labels_only_in_order([column.reader for column in source.columns]):
        raise InputError(
            f"--shards needs data of which any part can be read, and {label} gives its batches in order (let the "
            "function take (start, stop), or return a keras.utils.PyDataset or arrays)"
        )


def check_probe(probe: RepeatableProbe) -> None:
    """Raise TfdumpError for a model that gives a batch other numbers after other batches.

    A model without a graph shows that only when it has run.
    """
    if probe.assigned:
        raise TfdumpError(
            f"--shards: the model changes variables while it runs ({listed(probe.assigned)}), so its numbers depend on "
            f"the batches before ({_INSTEAD})"
        )
    if probe.random:
        raise TfdumpError(f"--shards: the model draws random numbers, which depend on the batches before ({_INSTEAD})")
