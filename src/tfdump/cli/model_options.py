"""The options of commands that run a model: how it is loaded and run, and how its dump is stored."""

from collections.abc import Callable
from functools import partial

import click

from tfdump.byte_sizes import parse_bytes, show_bytes
from tfdump.cli.help_page import CommandFunction, WordOption, option_under
from tfdump.cli.options import FORCE, OUTPUT, FileName, decorated, parsed
from tfdump.errors import TfdumpError
from tfdump.inputs.source import parse_examples
from tfdump.model.backends.options import BACKENDS
from tfdump.run.batching import DEFAULT_MEMORY
from tfdump.run.options import FLOAT_DTYPES, QUANTILES

MODEL = option_under("Model")
MORE_TENSORS = option_under("More tensors")
INPUTS = option_under("Inputs")
RUNNING = option_under("Running")
SEARCH = option_under("Search")
STORED_VALUES_HEADING = "Stored values"
STORED_VALUES = option_under(STORED_VALUES_HEADING)


def _batch_size(text: str) -> int | None:
    if text == "auto":
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 10 and int(text) > 0):
        raise TfdumpError(f"--batch-size '{text}' is neither a whole number of at least 1 nor 'auto'")
    return int(text)


def trust_options(command: CommandFunction) -> CommandFunction:
    """Add the options that decide what a model file may do."""
    decorators = [
        MODEL(
            "--import",
            "imports",
            multiple=True,
            metavar="MODULE|FILE.py",
            type=FileName(),
            allow_from_autoenv=False,
            help="Import this module first; it defines custom layers. Repeatable.",
        ),
        MODEL(
            "--trust-model",
            is_flag=True,
            allow_from_autoenv=False,
            help="Let the model file run its own code (Lambda layers, SavedModel).",
        ),
        MODEL(
            "--max-bytes",
            type=parsed("SIZE", parse_bytes),
            help="Refuse files that would take more memory than this. [default: a quarter of the machine's memory]",
        ),
    ]
    return decorated(command, decorators)


def model_options(command: CommandFunction) -> CommandFunction:
    """Add the model, and the options that decide how it is loaded."""
    decorators = [
        click.argument("model", type=FileName()),
        trust_options,
        MODEL(
            "--signature",
            metavar="NAME",
            help="Run this signature of a SavedModel or .tflite file that has several.",
        ),
    ]
    return decorated(command, decorators)


def like_option(command: CommandFunction) -> CommandFunction:
    """Add the option that names tensors by a Keras model."""
    option = MODEL(
        "--like",
        metavar="MODEL",
        type=FileName(),
        help="Name the tensors of a .tflite file by this Keras model, from which it was converted.",
    )
    return decorated(command, [option])


def backend_options(command: CommandFunction) -> CommandFunction:
    """Add the options that say on what a Keras file runs."""
    decorators = [
        RUNNING(
            "--backend",
            type=click.Choice(BACKENDS),
            help="Run a Keras file on this backend, in a process of its own. [default: tensorflow, in this process]",
        ),
        RUNNING(
            "--backend-python",
            metavar="PYTHON",
            type=FileName(),
            help="Run the backend with this interpreter, whose environment has it. [default: this one]",
        ),
    ]
    return decorated(command, decorators)


_BATCH_SIZE = RUNNING(
    "--batch-size",
    type=parsed("N|auto", _batch_size),
    metavar="N|auto",
    default="auto",
    show_default=True,
    help="Run this many examples at once; auto stays within --memory.",
)
_MEMORY = RUNNING(
    "--memory",
    type=parsed("SIZE", parse_bytes),
    default=show_bytes(DEFAULT_MEMORY).replace(".0 ", ""),
    show_default=True,
    help="Limit the memory of one batch, for --batch-size auto.",
)
_EXAMPLES = INPUTS(
    "--examples",
    type=parsed("START:STOP", parse_examples),
    default=":",
    help="Read only these examples.",
)
_SEED = RUNNING(
    "--seed",
    type=click.IntRange(0, 2**32 - 1),
    metavar="N",
    default=0,
    show_default=True,
    help="Seed the random layers with this number.",
)
_THREADS = RUNNING(
    "--threads",
    type=click.IntRange(1, 1024),
    metavar="N",
    help="Use at most this many threads. [default: one per processor]",
)
_PAD_VALUE = INPUTS(
    "--pad-value", type=float, default=0.0, show_default=True, help="Pad ragged inputs with this value."
)
_PAD_TO = INPUTS(
    "--pad-to",
    type=click.IntRange(1, 2**31 - 1),
    metavar="N",
    help="Pad ragged inputs to this length. [default: the longest]",
)
_STRICT_DTYPE = INPUTS("--strict-dtype", is_flag=True, help="Refuse inputs of another dtype instead of casting them.")


def running_options(command: CommandFunction) -> CommandFunction:
    """Add the options that decide how inputs are read and how the model runs."""
    decorators = [
        _BATCH_SIZE,
        _MEMORY,
        _EXAMPLES,
        RUNNING("--training", is_flag=True, help="Run in training mode (dropout, batch statistics)."),
        _SEED,
        _THREADS,
        RUNNING(
            "--eager",
            is_flag=True,
            help="Run without a graph: slower, for models that TensorFlow cannot trace.",
        ),
        _PAD_VALUE,
        _PAD_TO,
        _STRICT_DTYPE,
    ]
    return decorated(command, decorators)


def inference_options(command: CommandFunction) -> CommandFunction:
    """Add the same options as far as they are for models of every format."""
    return decorated(command, [_BATCH_SIZE, _MEMORY, _EXAMPLES, _SEED, _PAD_VALUE, _PAD_TO, _STRICT_DTYPE])


def _stats(text: str) -> bool | str:
    if text == QUANTILES:
        return text
    switch = click.BOOL.str_to_bool(text)
    if switch is None:
        raise TfdumpError(f"--stats '{text}' is not '{QUANTILES}' (leave the value out for statistics without it)")
    return switch


_STATS = click.option(
    "--stats",
    cls=WordOption,
    heading=STORED_VALUES_HEADING,
    words=(QUANTILES,),
    type=parsed(f"[{QUANTILES}]", _stats),
    metavar=f"[{QUANTILES}]",
    default=False,
    help="Also store statistics of each tensor; with 'quantiles', also what tfdump ranges needs of percentiles.",
)


def storing_options(kind: str, resumable: bool = True) -> Callable[[CommandFunction], CommandFunction]:
    """Return a decorator that adds where a dump of this kind is written and how its values are stored."""
    resume = OUTPUT("--resume", is_flag=True, help="Resume an interrupted run, and keep a journal to resume this one.")
    decorators = [
        OUTPUT("-o", "--output", type=FileName(), help=f"Write the dump to this file. [default: MODEL.{kind}.h5]"),
        FORCE,
        STORED_VALUES("--dtype", type=click.Choice(FLOAT_DTYPES), help="Store floats in this type."),
        STORED_VALUES(
            "--compression",
            type=click.Choice(["none", "gzip", "zstd"]),
            default="none",
            show_default=True,
            help="Compress the values; zstd needs the extra tfdump[zstd].",
        ),
        *([resume] if resumable else []),
        STORED_VALUES("--checksums", is_flag=True, help="Also store a CRC-32 of each tensor."),
        _STATS,
        STORED_VALUES("--stats-only", is_flag=True, help="Store statistics and no values."),
        OUTPUT("--dry-run", is_flag=True, help="Print what would be dumped, and write nothing."),
    ]
    return lambda command: decorated(command, decorators)


def capture_options(command: CommandFunction) -> CommandFunction:
    """Add the options that dump more tensors than the outputs of layers."""
    flag = partial(MORE_TENSORS, is_flag=True)
    decorators = [
        flag("--attention", help="Also the scores of every attention layer (:attention_scores)."),
        flag("--rnn-steps", help="Also the states of recurrent layers at every time step (:states.0)."),
        flag("--rnn-gates", help="Also the gates of LSTM and GRU at every time step (:gates.forget)."),
        flag("--preactivation", help="Also the input of each layer's activation function (:preactivation)."),
        flag("--layer-inputs", help="Also the inputs of each layer (:input)."),
        flag("--ops", help="Also every operation inside each layer, with its line of code (:op.Log)."),
    ]
    return decorated(command, decorators)
