"""Importing dask.distributed, which is an extra. This module itself does not import it."""

import logging
from importlib.util import find_spec

from tfdump.errors import TfdumpError


def check_library() -> None:
    """Raise TfdumpError where dask.distributed, or what it needs for encryption, is not installed."""
    if find_spec("distributed") is None or find_spec("cryptography") is None:
        raise TfdumpError("workers need an extra: pip install 'tfdump[cluster]'")


def keep_quiet() -> None:
    """Keep the messages of dask.distributed off stderr in this process; what the user must know is told otherwise."""
    import distributed  # its first import sets the levels of its loggers

    names = [name for name in logging.root.manager.loggerDict if name.partition(".")[0] == distributed.__name__]
    for name in (*names, "tornado.application", "asyncio"):
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
