"""Where records begin, their checksums, and damage."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from support.record_files import write_records
from tfdump.errors import InputError
from tfdump.inputs.records.checksums import masked_checksums
from tfdump.inputs.records.framing import RecordFile

pytestmark = pytest.mark.tensorflow

SIZES = [0, 1, 2, 3, 4, 5, 63, 64, 65, 127, 128, 129, 1000, 4096, 100_001]


def payloads(sizes: list[int] = SIZES) -> list[bytes]:
    random = np.random.default_rng(0)
    return [random.integers(0, 256, size, dtype=np.uint8).tobytes() for size in sizes]


def everything(file: RecordFile) -> list[bytes]:
    records, bad = file.read(0, len(file))
    assert not bad.any()
    return [bytes(record) for record in records]


def test_checksums_are_those_that_tensorflow_writes(tmp_path: Path) -> None:
    strings = payloads()
    data = write_records(tmp_path / "a.tfrecord", strings).read_bytes()
    stored, at = [], 0
    for string in strings:
        at += 12 + len(string)
        stored.append(int.from_bytes(data[at : at + 4], "little"))
        at += 4
    assert masked_checksums(strings).tolist() == stored
    assert [int(masked_checksums([string])[0]) for string in strings] == stored


def test_a_large_string_has_the_checksum_of_its_bytes() -> None:
    table = [0] * 256  # the checksum bit by bit, as RFC 3720 defines it
    for byte in range(256):
        value = byte
        for _ in range(8):
            value = (value >> 1) ^ (0x82F63B78 if value & 1 else 0)
        table[byte] = value
    data = payloads([2_000_003])[0]
    value = 0xFFFFFFFF
    for byte in data:
        value = table[(value ^ byte) & 255] ^ (value >> 8)
    value ^= 0xFFFFFFFF
    masked = (((value >> 15) | (value << 17)) + 0xA282EAD8) & 0xFFFFFFFF
    assert int(masked_checksums([data])[0]) == masked


@pytest.mark.parametrize("compression", ["", "GZIP", "ZLIB"])
def test_records_are_those_of_tensorflow(tmp_path: Path, compression: str) -> None:
    path = write_records(tmp_path / "a.tfrecord", payloads(SIZES * 3), compression)
    file = RecordFile(path)
    assert everything(file) == [item.numpy() for item in tf.data.TFRecordDataset(str(path), compression)]
    assert bytes(file.read(14, 15)[0][0]) == payloads()[14]  # a step back
    assert [bytes(item) for item in file.read(3, 9)[0]] == payloads()[3:9]
    assert file.damage is None


def test_a_large_compressed_file_is_read_at_any_place(tmp_path: Path) -> None:
    records = payloads([200_000] * 150)
    file = RecordFile(write_records(tmp_path / "a.gz", records, "GZIP"))
    for place in (149, 0, 70, 71, 3):
        assert bytes(file.read(place, place + 1)[0][0]) == records[place]


def test_several_gzip_members_follow_each_other(tmp_path: Path) -> None:
    first = write_records(tmp_path / "a.gz", payloads(), "GZIP").read_bytes()
    path = tmp_path / "both.gz"
    path.write_bytes(first + first + b"\0" * 100)
    assert everything(RecordFile(path)) == payloads() * 2


def test_many_small_records(tmp_path: Path) -> None:
    records = [str(number).encode() for number in range(70_000)]
    file = RecordFile(write_records(tmp_path / "a.tfrecord", records))
    assert everything(file) == records


def test_a_damaged_checksum_is_told_with_its_record(tmp_path: Path) -> None:
    path = write_records(tmp_path / "a.tfrecord", payloads([100] * 5))
    data = bytearray(path.read_bytes())
    data[2 * 116 + 50] ^= 1
    path.write_bytes(data)
    assert RecordFile(path).read(1, 4)[1].tolist() == [False, True, False]


@pytest.mark.parametrize(
    ("cut", "number"),
    [(5 * 116 - 1, 4), (4 * 116 + 12, 4), (4 * 116 + 5, 4), (4 * 116 + 1, 4), (116 + 115, 1), (116 * 3 + 114, 3)],
)
def test_a_file_that_ends_too_early(tmp_path: Path, cut: int, number: int) -> None:
    path = write_records(tmp_path / "a.tfrecord", payloads([100] * 5))
    path.write_bytes(path.read_bytes()[:cut])
    file = RecordFile(path)
    assert file.damage is not None
    assert (file.damage.number, file.damage.offset) == (number, number * 116)
    assert everything(file) == payloads([100] * 5)[:number]


@pytest.mark.parametrize("place", [0, 3, 7, 8, 11])
def test_a_damaged_length_ends_the_file(tmp_path: Path, place: int) -> None:
    path = write_records(tmp_path / "a.tfrecord", payloads([100] * 5))
    data = bytearray(path.read_bytes())
    data[116 * 2 + place] ^= 0x80
    path.write_bytes(data)
    file = RecordFile(path)
    assert file.damage is not None
    assert (file.damage.number, file.damage.offset) == (2, 232)
    assert everything(file) == payloads([100] * 5)[:2]


@pytest.mark.parametrize("content", [b"x", b"hello world, no records here", b"\x1f\x8b" + b"x" * 30, bytes(100)])
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.tfrecord"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"a\.tfrecord"):
        RecordFile(path)


def test_a_truncated_gzip_file_is_refused(tmp_path: Path) -> None:
    path = write_records(tmp_path / "a.gz", payloads(), "GZIP")
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(InputError, match=r"cannot decompress .*a.gz.*ends too early"):
        RecordFile(path)


def test_a_file_without_records_has_none(tmp_path: Path) -> None:
    assert len(RecordFile(write_records(tmp_path / "a.tfrecord", []))) == 0
