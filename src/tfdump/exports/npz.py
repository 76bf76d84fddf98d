"""`.npz`: a zip archive of `.npy` members, written as a stream; equal arrays give equal bytes."""

import io
import zipfile
from collections.abc import Callable, Iterable, Iterator

Member = tuple[str, Callable[[], Iterator[bytes]]]
"""The name of an array, and a function that yields the bytes of its `.npy`."""

_NO_DATE = (1980, 1, 1, 0, 0, 0)


class _Outbox(io.RawIOBase):
    """What zipfile writes, stored until it is taken; it cannot seek, so nothing is changed after it was written."""

    def __init__(self) -> None:
        super().__init__()
        self._waiting = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        block = bytes(data)  # type: ignore[call-overload]  # any buffer
        self._waiting += block
        return len(block)

    def take(self) -> bytes:
        data = bytes(self._waiting)
        self._waiting.clear()
        return data


def npz(members: Iterable[Member]) -> Iterator[bytes]:
    """Yield the bytes of an uncompressed archive, in which every array is a member named `NAME.npy`."""
    outbox = _Outbox()
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
