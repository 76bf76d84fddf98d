"""The checksums of TFRecord files: masked CRC-32C, computed for many byte strings at once.

A CRC is linear, so that of a block is the exclusive or of what each byte of it contributes, and that of two blocks
follows from theirs. Leading zeros do not change it, so every byte string becomes whole blocks by zeros before it.
"""

from collections import defaultdict
from collections.abc import Sequence
from functools import cache

import numpy as np
import numpy.typing as npt

_POLYNOMIAL = 0x82F63B78
"""The polynomial of Castagnoli, its bits reversed."""

_BLOCK = 64
_AT_ONCE = 1 << 14
"""Blocks whose bytes are looked up at once."""

_ONES = 0xFFFFFFFF
_MASK_DELTA = 0xA282EAD8

Words = npt.NDArray[np.uint32]


def masked_checksums(strings: Sequence[bytes | memoryview]) -> Words:
    """Return the masked CRC-32C of each byte string, shape (strings,), as `tf.io.TFRecordWriter` stores them."""
    checksums = np.zeros(len(strings), np.uint32)
    groups: dict[int, list[int]] = defaultdict(list)
    for place, string in enumerate(strings):
        groups[max(1, -(-len(string) // _BLOCK))].append(place)
    for count, places in groups.items():
        at_once = max(1, _AT_ONCE // count)
        for start in range(0, len(places), at_once):
            some = places[start : start + at_once]
            checksums[some] = _checksums([strings[place] for place in some], count)
    return masked(checksums)


def masked_row_checksums(rows: npt.NDArray[np.uint8]) -> Words:
    """Return the masked CRC-32C of rows of bytes, shape (rows, size), of which each has from 5 to 64 bytes."""
    size = rows.shape[1]
    blocks = np.zeros((len(rows), _BLOCK), np.uint8)
    blocks[:, -size:] = rows
    blocks[:, -size : 4 - size] ^= np.uint8(255)
    return masked(_block_checksums(blocks) ^ np.uint32(_ONES))


def masked(checksums: Words) -> Words:
    """Return checksums as TFRecord files store them: rotated, and a constant added."""
    rotated = (checksums >> np.uint32(15)) | (checksums << np.uint32(17))
    return rotated + np.uint32(_MASK_DELTA)


def _checksums(strings: Sequence[bytes | memoryview], count: int) -> Words:
    """Return the CRC-32C of byte strings that take `count` blocks each."""
    size = count * _BLOCK
    padded = np.zeros((len(strings), size), np.uint8)
    ends = np.full(len(strings), _ONES, np.uint32)
    for row, string in enumerate(strings):
        length = len(string)
        if not length:
            continue
        padded[row, size - length :] = np.frombuffer(string, np.uint8)
        padded[row, size - length : size - length + 4] ^= np.uint8(255)  # the register begins as ones
        ends[row] ^= np.uint32(_ONES >> 8 * length) if length < 4 else np.uint32(0)
    empty = np.array([not len(string) for string in strings])
    ends[empty] = 0
    return _joined(_block_checksums(padded.reshape(-1, _BLOCK)).reshape(len(strings), count)) ^ ends


def _block_checksums(blocks: npt.NDArray[np.uint8]) -> Words:
    table, places = _block_table().reshape(-1), np.arange(_BLOCK, dtype=np.int32) * 256
    checksums = np.empty(len(blocks), np.uint32)
    for start in range(0, len(blocks), _AT_ONCE):
        some = blocks[start : start + _AT_ONCE]
        checksums[start : start + len(some)] = np.bitwise_xor.reduce(table[some + places], axis=1)
    return checksums


def _joined(checksums: Words) -> Words:
    """Return the checksums of whole strings from those of their blocks, shape (strings, blocks)."""
    level = 0
    while checksums.shape[1] > 1:
        if checksums.shape[1] % 2:
            checksums = np.concatenate([np.zeros((len(checksums), 1), np.uint32), checksums], axis=1)
        checksums = _shifted(checksums[:, 0::2], _shift_tables(level)) ^ checksums[:, 1::2]
        level += 1
    return checksums[:, 0]


def _shifted(checksums: Words, tables: Words) -> Words:
    """Return the checksums when so many zeros follow as `tables` are made for."""
    shifted: Words = tables[0][checksums & np.uint32(255)]
    for place in range(1, 4):
        shifted = shifted ^ tables[place][(checksums >> np.uint32(8 * place)) & np.uint32(255)]
    return shifted


@cache
def _shift_tables(level: int) -> Words:
    """Return the tables for the zeros of 2 ** `level` blocks, shape (4, 256): one for each byte of a checksum."""
    if not level:
        return _block_table()[:4]
    half = _shift_tables(level - 1)
    return _shifted(half, half)


@cache
def _block_table() -> Words:
    """Return what each byte contributes at each place in a block, shape (block, 256)."""
    one = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        one = (one >> np.uint32(1)) ^ np.where(one & np.uint32(1), np.uint32(_POLYNOMIAL), np.uint32(0))
    table = np.empty((_BLOCK, 256), np.uint32)
    table[-1] = one
    for place in range(_BLOCK - 2, -1, -1):
        behind = table[place + 1]
        table[place] = one[behind & np.uint32(255)] ^ (behind >> np.uint32(8))
    return table
