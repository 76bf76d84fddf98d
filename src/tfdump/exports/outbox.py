"""A file in memory from which the bytes that a library writes are taken piece by piece."""

import io


class Outbox(io.RawIOBase):
    """What a library writes, stored until it is taken; it cannot seek, so nothing is changed after it was written."""

    def __init__(self) -> None:
        super().__init__()
        self._waiting: list[bytes] = []

    def writable(self) -> bool:
        """Tell that it can be written to."""
        return True

    def write(self, data: object) -> int:
        """Store some bytes, and return how many they are."""
        block = bytes(data)  # type: ignore[call-overload]  # any buffer
        self._waiting.append(block)
        return len(block)

    def take(self) -> bytes:
        """Return what was written since the last time."""
        data = b"".join(self._waiting)
        self._waiting.clear()
        return data
