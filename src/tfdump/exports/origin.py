"""Where exported values come from, for formats that have room for it."""

from tfdump.dump.reader import Dump

_ATTRIBUTES = ("model", "model_sha256", "kind", "tfdump_version", "tensorflow_version", "keras_version", "command")


def origin_of(dump: Dump) -> dict[str, str]:
    """Return what made a dump, by the names of the attributes of its root: nothing that changes from run to run."""
    return {name: str(dump.attributes[name]) for name in _ATTRIBUTES if name in dump.attributes}
