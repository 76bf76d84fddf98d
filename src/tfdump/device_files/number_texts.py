"""Numbers as a serial console shows them: decimal, hexadecimal, or literals of C."""

import math
import re
from collections.abc import Callable

import numpy as np

from tfdump.device_files.expected import Expected
from tfdump.dtypes import kind_of, numpy_dtype

Parse = Callable[[str], int | float]
"""Returns the number that a word stands for; raises ValueError, whose message is what is wrong with it."""

_NAMED = re.compile(r"[+-]?(nan|inf|infinity)", re.IGNORECASE)
_DECIMAL = re.compile(r"([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:e[+-]?[0-9]+)?)[fl]?", re.IGNORECASE)
_HEXADECIMAL = re.compile(r"[+-]?0x(?:[0-9a-f]+\.?[0-9a-f]*|\.[0-9a-f]+)p[+-]?[0-9]+", re.IGNORECASE)
_BITS = re.compile(r"0x([0-9a-f]+)(?:u|l|ul|ll|ull|lu)?", re.IGNORECASE)
_INTEGER = re.compile(r"([+-]?[0-9]+)(?:u|l|ul|ll|ull|lu)?", re.IGNORECASE)
_LONGEST_INTEGER = 1000
"""Digits of an integer that are read; Python refuses to read very many."""
_TRUTH = {"true": 1, "false": 0, "1": 1, "0": 0}


def parser_of(expected: Expected) -> Parse:
    """Return what reads the words of a file."""
    kind = kind_of(expected.dtype)
    if kind in "iu":
        bits = np.iinfo(numpy_dtype(expected.dtype))
        return lambda word: _integer(word, int(bits.min), int(bits.max), bits.bits, expected.dtype)
    return _truth if kind == "b" else _real


def _real(word: str) -> float:
    if _NAMED.fullmatch(word):
        return float(word)
    if decimal := _DECIMAL.fullmatch(word):
        if word[-1] in "fFlL" and not set(word) & set(".eE"):
            raise ValueError("is not a number")  # C has no such literal; it may be hexadecimal
        return _finite(float(decimal[1]))
    if _HEXADECIMAL.fullmatch(word):
        try:
            return float.fromhex(word)
        except OverflowError:
            return _finite(math.inf)
    if _BITS.fullmatch(word):
        raise ValueError("is a hexadecimal integer, which may be bits or a number: print decimal numbers")
    raise ValueError("is not a number")


def _finite(number: float) -> float:
    if math.isinf(number):
        raise ValueError("is too large for any dtype")
    return number


def _integer(word: str, least: int, most: int, bits: int, dtype: str) -> int:
    """Return an integer; a hexadecimal one is the bits of the dtype, or of a negative number that became 32 bits."""
    if match := _BITS.fullmatch(word):
        number = int(match[1], 16)
        if bits < 32 and least < 0 and (1 << 32) + least <= number < 1 << 32:
            return number - (1 << 32)
        if number >= 1 << bits:
            raise ValueError(f"has more bits than {dtype}")
        return number if number <= most else number - (1 << bits)
    if match := _INTEGER.fullmatch(word):
        number = int(match[1]) if len(word) <= _LONGEST_INTEGER else most + 1
        if not least <= number <= most:
            raise ValueError(f"is not within {dtype}, {least} to {most}")
        return number
    _real(word)  # says what is no number at all
    raise ValueError(f"is not an integer, and the values are {dtype}")


def _truth(word: str) -> int:
    try:
        return _TRUTH[word.casefold()]
    except KeyError:
        raise ValueError("is not a truth value (0, 1, true or false)") from None
