"""Messages in the words of Python: what the command line calls `--batch-size` is the argument `batch_size`."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from tfdump.errors import TfdumpError

_FLAGS = {
    option: f"{option.removeprefix('--').replace('-', '_')}=True"
    for option in (
        *("--training", "--eager", "--attention", "--rnn-steps", "--rnn-gates", "--preactivation", "--layer-inputs"),
        *("--dequantize", "--from-logits", "--per-example", "--norms-only", "--sparse", "--save-weights"),
        *("--golden-dequantize", "--new-dequantize", "--first", "--isolate", "--influence", "--ignore-ids"),
        *("--ops", "--outputs", "--stats", "--stats-only", "--until-nan", "--allow-inf"),
    )
} | {"--trust-model": "trust=True"}

_NAMES = {
    option: option.removeprefix("--").replace("-", "_")
    for option in (
        *("--exclude", "--depth", "--batch-size", "--memory", "--seed", "--reduce", "--dtype", "--signature"),
        *("--golden-signature", "--new-signature", "--backend", "--backend-python"),
        *("--golden-backend", "--new-backend", "--golden-backend-python", "--new-backend-python"),
        *("--max-bytes", "--loss", "--objective", "--sample-weight", "--reduction", "--wrt", "--steps"),
        *("--learning-rate", "--optimizer", "--loss-scale", "--compression", "--like", "--preprocess"),
        *("--shards", "--shard-examples", "--threads"),
    )
} | {"--layer": "layers", "-l": "layers", "-x": "exclude", "--targets": "y"}

_OPTION = re.compile(r"(?<![\w-])(--[a-z]+(?:-[a-z]+)*|-[lx])(?![\w-])")
_VALUE = re.compile(r"(?<![\w-])(--[a-z]+(?:-[a-z]+)*|-[lx]) ('[^']*'|[A-Z]+\b(?!=))")
_COMMAND = re.compile(r"tfdump activations (\w+=True)")
_WRT = re.compile(r"--wrt (weights|activations|inputs)\b")


def in_words_of_python(message: str) -> str:
    """Return a message in which the options of the command line are the arguments of the functions.

    Options without an argument of that meaning, such as `--examples`, stay as they are.
    """
    message = _WRT.sub(r"--wrt '\1'", message)
    message = _VALUE.sub(lambda match: f"{_NAMES[match[1]]}={match[2]}" if match[1] in _NAMES else match[0], message)
    message = _OPTION.sub(lambda match: _FLAGS.get(match[1]) or _NAMES.get(match[1]) or match[1], message)
    return _COMMAND.sub(r"tfdump.activations(..., \1)", message)


@contextmanager
def errors_name_arguments() -> Iterator[None]:
    """Put the errors that are raised inside into the words of Python."""
    try:
        yield
    except TfdumpError as error:
        error.args = tuple(in_words_of_python(part) if isinstance(part, str) else part for part in error.args)
        raise
