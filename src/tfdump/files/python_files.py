"""Files of Python code that the user names."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType


def run_python_file(path: Path, who: str) -> ModuleType:
    """Run a Python file as a module of its name, and let it import what is beside it.

    Parameters
    ----------
    path : Path
        The file.
    who : str
        What the name of the module begins with where its own name is in use (`h5py.py`), such as "run by tfdump".

    Returns
    -------
    ModuleType
        The module, which is in `sys.modules`.

    Raises
    ------
    ImportError
        If the file does not end in `.py`.
    BaseException
        What the code of the file raises. The module and the folder of the file are taken away again.
    """
    name = path.stem if path.stem not in sys.modules else f"{who}: {path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError("it is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    sys.path.insert(0, str(path.parent))
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        sys.path.remove(str(path.parent))
        raise
    return module
