"""Pictures of tensors: arrays in, matplotlib Figures out. The only package that names matplotlib; nothing prints."""

import importlib.util
import logging

from tfdump.errors import TfdumpError


def need_matplotlib() -> None:
    """Raise TfdumpError with what to install where matplotlib is missing; keep its chatter off stderr elsewhere."""
    if importlib.util.find_spec("matplotlib") is None:
        raise TfdumpError(
            "pictures need the extra: pip install 'tfdump[plot]' (a histogram in text needs none: --text)"
        )
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # it tells of its font cache
