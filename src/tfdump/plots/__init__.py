"""Pictures of tensors: arrays in, matplotlib Figures out. The only package that names matplotlib; nothing prints."""

import importlib.util
import logging

from tfdump.errors import TfdumpError


def need_matplotlib() -> None:
    """Raise TfdumpError where matplotlib is missing, with the command that installs it; else silence its log."""
    if importlib.util.find_spec("matplotlib") is None:
        raise TfdumpError("pictures need an extra: pip install 'tfdump[plot]' (--text prints a histogram without it)")
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # it logs about its font cache
