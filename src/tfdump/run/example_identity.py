"""Writing who the examples of a dump are: their names, and their labels where the data has them."""

import numpy as np
import numpy.typing as npt

from tfdump.dtypes import STRING
from tfdump.dump import layout
from tfdump.dump.axis0 import EXAMPLE
from tfdump.dump.writer import DumpWriter
from tfdump.inputs.identity import ExampleIdentity
from tfdump.inputs.source import Source
from tfdump.tensors import Array, TensorInfo

_BLOCK = 1 << 16
"""Names that are in memory at once."""


def write_identity(source: Source, writer: DumpWriter) -> None:
    """Store who the examples of a source are, where its data tells."""
    identity = source.identity
    if identity is None:
        return
    blocks = -(-source.examples // _BLOCK)
    info = _info(layout.EXAMPLE_ID, STRING)
    names = writer.collector(info, _names(identity, 0, 1), axis0=EXAMPLE, examples=source.examples, batches=blocks)
    for start in range(0, source.examples, _BLOCK):
        names.append(_names(identity, start, min(start + _BLOCK, source.examples)))
    writer.link(layout.EXAMPLES, info, names, {})
    if identity.labels is not None:
        _write(writer, layout.EXAMPLE_LABEL, identity.labels.values[identity.start : identity.stop])
        if identity.labels.classes:
            _write(writer, layout.EXAMPLE_CLASSES, _texts(list(identity.labels.classes)))


def _write(writer: DumpWriter, name: str, values: Array) -> None:
    info = _info(name, STRING if values.dtype == object else str(values.dtype))
    collector = writer.collector(info, values, axis0=EXAMPLE, examples=len(values), batches=1)
    collector.append(values)
    writer.link(layout.EXAMPLES, info, collector, {})


def _info(name: str, dtype: str) -> TensorInfo:
    return TensorInfo(name, name, name, (), 0, dtype, (-1,))


def _names(identity: ExampleIdentity, start: int, stop: int) -> Array:
    return _texts(identity.read(start, stop))


def _texts(texts: list[str]) -> npt.NDArray[np.object_]:
    """Return text as byte strings; the names of files need not be UTF-8."""
    items = np.empty(len(texts), object)
    items[:] = [text.encode("utf-8", "surrogateescape") for text in texts]
    return items
