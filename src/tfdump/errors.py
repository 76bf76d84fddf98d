"""The errors that tfdump raises. Each message says what is wrong, where, and how to mend it."""

from collections.abc import Iterable

INTERRUPTION = "Error: interrupted; no file was written"
"""What the command line prints after Ctrl-C."""


class TfdumpError(Exception):
    """A problem that the user can mend. The command line prints it as one line and exits with status 2."""


class InputError(TfdumpError):
    """An input file or array cannot be read, or does not fit the model."""


class ModelError(TfdumpError):
    """A model file cannot be loaded or run."""


class UntrustedModelError(ModelError):
    """A model file contains code of its own, and the user did not trust it."""


class SelectionError(TfdumpError):
    """A layer pattern is malformed, or matches nothing."""


class DumpError(TfdumpError):
    """A dump file cannot be read or written."""


class TfdumpWarning(UserWarning):
    """Something to know about a result, such as a cast, a padding or a layer that was left out."""


def reason_of(error: BaseException) -> str:
    """Return the first line of an error's message, or the name of its class if it has no message.

    Python shows several arguments as a tuple, and the missing key of a mapping in quotes; both are made readable.
    """
    text = str(error)
    if isinstance(error, KeyError) and len(error.args) == 1:
        key = error.args[0]
        text = key if isinstance(key, str) and " " in key else f"it has no {key!r}"
    elif len(error.args) > 1 and text == str(error.args):
        text = str(error.args[0])
    return next(iter(text.splitlines()), "") or type(error).__name__


def with_article(noun: str) -> str:
    """Return a noun with `a` or `an` before it."""
    return f"{'an' if noun[:1] in 'aeiou' else 'a'} {noun}"


def near(name: str, known: Iterable[str], most: int = 3) -> str:
    """Return ``"; near: 'a', 'b'"`` for the known names that resemble `name`, or an empty string."""
    from difflib import get_close_matches  # only needed for errors

    names = list(dict.fromkeys(known))
    by_last_part = {candidate.rpartition(".")[2]: candidate for candidate in reversed(names)}
    close = get_close_matches(name, names, n=most, cutoff=0.5)
    close += [by_last_part[part] for part in get_close_matches(name, by_last_part, n=most, cutoff=0.6)]
    close += [candidate for candidate in names if name and name.casefold() in candidate.casefold()]
    close_names = list(dict.fromkeys(close))[:most]
    return "; near: " + ", ".join(f"'{candidate}'" for candidate in close_names) if close_names else ""
