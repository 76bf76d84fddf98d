"""`.npz`: a zip archive of `.npy` members, written as a stream; equal arrays give equal bytes."""

import zipfile
from collections.abc import Callable, Iterable, Iterator

from tfdump.exports.outbox import Outbox

Member = tuple[str, Callable[[], Iterator[bytes]]]
"""The name of an array, and a function that yields the bytes of its `.npy`."""

_NO_DATE = (1980, 1, 1, 0, 0, 0)


def npz(members: Iterable[Member]) -> Iterator[bytes]:
    """Yield the bytes of an uncompressed archive, in which every array is a member named `NAME.npy`."""
    outbox = Outbox()
    with zipfile.ZipFile(outbox, "w", zipfile.ZIP_STORED) as archive:
        for name, blocks in members:
            info = zipfile.ZipInfo(f"{name}.npy", _NO_DATE)
            info.create_system = 3
            info.external_attr = 0o644 << 16
            with archive.open(info, "w", force_zip64=True) as stream:
                for block in blocks():
                    stream.write(block)
                    yield outbox.take()
    yield outbox.take()
