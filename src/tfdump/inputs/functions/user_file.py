"""Functions of the user in a Python file, which the command line names as `FILE.py:FUNCTION`.

The file is run only because the user named it, and only when its function is needed.
"""

import re
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from tfdump.errors import InputError, TfdumpError, near, reason_of, with_article
from tfdump.files.paths import check_path
from tfdump.files.python_files import run_python_file
from tfdump.process.signals import interruption_behind, waiting

_MODULES: dict[Path, ModuleType] = {}
"""The files that were run, so that each runs once."""

_FILES: set[str] = set()
"""The files that were run, or failed."""


def split_function(text: str, option: str) -> tuple[Path, str]:
    """Return the file and the name of a function from `FILE.py:FUNCTION`.

    Raises InputError for other text, and where there is no such file; `option` is named in the message.
    """
    match = re.fullmatch(r"(.+\.py):([^\W\d]\w*)", text)
    if match is None:
        raise InputError(f"{option} '{text}' is not FILE.py:FUNCTION (for example my_data.py:batches)")
    path = Path(match[1])
    check_path(path, f"file of {option}", InputError)
    return path, match[2]


def without_folder(text: str) -> str:
    """Return text that ends in `FILE.py:FUNCTION` without the folder of the file, as dumps record it."""
    return re.sub(r"(^|=)[^=]*/([^/=]+\.py:\w+)$", r"\1\2", text)


def load_function(text: str, option: str) -> Callable[..., Any]:
    """Run the file of `FILE.py:FUNCTION`, and return its function.

    Raises InputError where the file fails, or has no such function.
    """
    path, name = split_function(text, option)
    module = _run(path)
    function = getattr(module, name, None)
    if function is None:
        functions = [other for other, value in vars(module).items() if callable(value) and not other.startswith("_")]
        raise InputError(f"{option}: {path} has no function '{name}'{near(name, functions)}")
    if not callable(function):
        raise InputError(f"{option}: '{name}' in {path} is {with_article(type(function).__name__)}, not a function")
    return function  # type: ignore[no-any-return]  # what is in a module may be of any type


@contextmanager
def errors_of_user(label: str) -> Iterator[None]:
    """Raise InputError, with the line of the user's code, where code of the user fails inside."""
    try:
        yield
    except TfdumpError:
        raise
    except (Exception, SystemExit) as cause:  # code of the user may raise anything
        interruption = interruption_behind(cause) or waiting()
        if interruption is not None:
            raise interruption from None
        name = type(cause).__name__
        raise InputError(f"{label} failed{_line(cause)}: {name}: {reason_of(cause)}") from cause


def _line(cause: BaseException) -> str:
    """Return where an error was raised: in the last line of a file that the user named, if any."""
    lines = [frame.lineno for frame in traceback.extract_tb(cause.__traceback__) if frame.filename in _FILES]
    return f" in line {lines[-1]}" if lines else ""


def _run(path: Path) -> ModuleType:
    """Run a Python file, once."""
    whole = path.resolve()
    if whole not in _MODULES:
        _FILES.add(str(whole))
        with errors_of_user(str(path)):
            _MODULES[whole] = run_python_file(whole, "run by tfdump")
    return _MODULES[whole]
