"""Starts the program of a backend in any environment: makes this copy of tfdump importable, and nothing beside it.

It runs as a script. Older versions of Python 3 have to be able to read it, so that they can say that they are too old.
"""

import importlib.util
import os
import sys

LOWEST = (3, 10)


def start(folder: str, words: int, parent: int) -> None:
    """Run the program; `folder` is that of tfdump, and `words` the file descriptor for what the model prints."""
    if sys.version_info < LOWEST:
        version, lowest = (".".join(map(str, numbers)) for numbers in (sys.version_info[:2], LOWEST))
        sys.exit(f"it is Python {version}, and a backend needs Python {lowest} or newer")
    del sys.path[0]  # the folder of this script, whose modules have names of their own
    spec = importlib.util.spec_from_file_location(
        "tfdump", os.path.join(folder, "__init__.py"), submodule_search_locations=[folder]
    )
    if spec is None or spec.loader is None:
        sys.exit("tfdump is not in " + folder)
    module = importlib.util.module_from_spec(spec)
    sys.modules["tfdump"] = module
    spec.loader.exec_module(module)
    from tfdump.process.supervisor import end_with

    end_with(parent)
    from tfdump.model.backends.program.server import serve

    serve(words)


if __name__ == "__main__":
    start(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
