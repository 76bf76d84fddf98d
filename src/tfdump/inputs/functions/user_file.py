"""Functions of the user in a Python file, which the command line names as `FILE.py:FUNCTION`.

The file is run only because the user named it, and only when its function is needed.
"""

import importlib.util
import re
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from tfdump.errors import InputError, TfdumpError, near, reason_of, with_article
from tfdump.files.paths import check_path
from tfdump.process.signals import interruption_behind, waiting

_MODULES: dict[Path, ModuleType] = {}
"""The files that were run, so that each runs once."""


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
    module = _run(path, option)
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
    files = {str(path) for path in _MODULES}
    lines = [frame.lineno for frame in traceback.extract_tb(cause.__traceback__) if frame.filename in files]
    return f" in line {lines[-1]}" if lines else ""


def _run(path: Path, option: str) -> ModuleType:
    """Run a Python file as a module of its name, or of another name where that one is in use."""
    whole = path.resolve()
    if whole in _MODULES:
        return _MODULES[whole]
    name = path.stem if path.stem not in sys.modules else f"run by tfdump: {path.stem}"
    spec = importlib.util.spec_from_file_location(name, whole)
    if spec is None or spec.loader is None:
        raise InputError(f"{option}: {path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    _MODULES[whole] = module
    sys.path.insert(0, str(whole.parent))
    try:
        with errors_of_user(str(path)):
            spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name], _MODULES[whole]
        sys.path.remove(str(whole.parent))
        raise
    return module
