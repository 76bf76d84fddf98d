"""Damage to files, one by one and each the same for the same dice: bytes, members of archives, datasets, JSON."""

import io
import json
import random
import struct
import warnings
import zipfile
from collections.abc import Callable
from typing import Any

import h5py
import numpy as np

EXTREMES = {
    1: (0, 1, 0x7F, 0x80, 0xFF),
    2: (0, 1, 0x7FFF, 0x8000, 0xFFFF),
    4: (0, 1, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF),
    8: (0, 1, 0xFFFFFFFF, 1 << 40, (1 << 63) - 1, 1 << 63, (1 << 64) - 1),
}
"""What counts and lengths are set to, by their width in bytes."""

STRUCTURES = (b"TREE", b"SNOD", b"HEAP", b"GCOL", b"OHDR", b"OCHK", b"FRHP", b"FHDB", b"FHIB", b"BTHD", b"BTLF",
              b"BTIN", b"\x89HDF", b"PK\x01\x02", b"PK\x03\x04", b"PK\x05\x06", b"\x93NUMPY", b"TFL3")  # fmt: skip
"""Marks in the files, behind which counts, lengths and addresses stand."""

Mutation = Callable[[bytes, random.Random], bytes]

ODD_VALUES: tuple[Any, ...] = (
    None, True, 0, -1, 1, 2**31, 2**63, -(2**70), 1e308, float("nan"), float("inf"), "", "x" * 5000, "\0", "..", "relu",
    [], [None], [[]], {}, [-1], [2**40, 2**40], {"class_name": "Dense", "config": {}},
    {"class_name": "__tuple__", "items": [1]},
)  # fmt: skip
"""What stands in JSON where something else is expected."""

ODD_ATTRIBUTES: tuple[Any, ...] = (
    -1, 0, 2**31, 2**62, 1e300, float("nan"), "", "x", "é" * 300, b"\xff\xfe", True, h5py.Empty("f4"), h5py.Empty("S1"),
    np.zeros(0), np.zeros((2, 2)), np.array([-1, 2**40]), np.array([b"\xff", b"a"]), np.array([1, 2], "f2"),
    np.complex64(1j), np.zeros(2, [("a", "i4"), ("b", "f8")]), "[", "{}", '{"a": 1}', "[1, [2]]", '[{"address": 1}]',
    "ragged", "sparse", "stack", "float32", "string", "bfloat16", "complex64", "bool", "example", "none",
)  # fmt: skip
"""What an attribute is set to."""


def mutated(data: bytes, number: int, dice: random.Random, ways: tuple[Mutation, ...]) -> bytes:
    """Return the damaged file of this number: first a truncation at every kilobyte, then all ways by turns."""
    kilobytes = len(data) // 1024 + 1
    if number % 4 == 0 and number // 4 < kilobytes:
        return data[: number // 4 * 1024]
    return dice.choice(ways)(data, dice)


# Bytes


def flipped(data: bytes, dice: random.Random) -> bytes:
    """Flip one bit, or some."""
    changed = bytearray(data)
    for _ in range(dice.choice((1, 1, 2, 8, 64))):
        changed[dice.randrange(len(changed))] ^= 1 << dice.randrange(8)
    return bytes(changed)


def overwritten(data: bytes, dice: random.Random) -> bytes:
    """Put zeros, ones or noise over a run of bytes."""
    start, length = dice.randrange(len(data)), dice.choice((1, 4, 16, 256, 4096))
    run = dice.choice((b"\0" * length, b"\xff" * length, dice.randbytes(length)))
    return (data[:start] + run + data[start + length :])[: len(data)]


def truncated(data: bytes, dice: random.Random) -> bytes:
    """Keep the beginning."""
    return data[: dice.randrange(len(data))]


def moved(data: bytes, dice: random.Random) -> bytes:
    """Leave out, repeat or swap blocks."""
    size = dice.choice((1, 8, 64, 512))
    first, second = (dice.randrange(len(data)) for _ in range(2))
    block = data[first : first + size]
    if dice.random() < 0.3:
        return data[:first] + data[first + size :]
    if dice.random() < 0.5:
        return data[:first] + block + data[first:]
    changed = bytearray(data)
    changed[second : second + size] = block
    return bytes(changed)


def extreme(data: bytes, dice: random.Random) -> bytes:
    """Set something that may be a count or a length to an extreme; mostly right behind a mark."""
    changed = bytearray(data)
    for _ in range(dice.choice((1, 1, 1, 2))):
        mark = dice.choice([mark for mark in STRUCTURES if mark in data] or [b""])
        places = [place for place in range(len(data)) if data.startswith(mark, place)] if mark else []
        near = bool(places) and dice.random() < 0.7
        start = dice.choice(places) + dice.randrange(4, 80) if near else dice.randrange(len(data))
        width = dice.choice(tuple(EXTREMES))
        changed[start : start + width] = dice.choice(EXTREMES[width]).to_bytes(width, "little")
    return bytes(changed)


def aligned_extreme(data: bytes, dice: random.Random) -> bytes:
    """Set an aligned number of 32 bits to an extreme or to a near one, as FlatBuffers hold them."""
    changed = bytearray(data)
    start = dice.randrange(len(data) // 4) * 4
    near = (struct.unpack_from("<I", data, start)[0] + dice.choice((-4, -1, 1, 4))) & 0xFFFFFFFF
    changed[start : start + 4] = dice.choice((*EXTREMES[4], near)).to_bytes(4, "little")
    return bytes(changed)


BYTES: tuple[Mutation, ...] = (flipped, overwritten, truncated, moved, extreme, extreme)
LITE: tuple[Mutation, ...] = (flipped, overwritten, moved, aligned_extreme, aligned_extreme, aligned_extreme)


# Arrays


def array_header(data: bytes, dice: random.Random) -> bytes:
    """Damage the text of the header of a `.npy`, or say something else in it."""
    length = struct.unpack_from("<H", data, 8)[0]
    header, values = data[10 : 10 + length], data[10 + length :]
    odd = dice.choice(("(-1,)", "(2**9,)", f"({2**62}, {2**62})", "(0,)", "()", "(1.5,)", "(True, 13)", "(50, 13, 0)",
                       f"({10**30},)", "('a',)", "None", "(" * 300, "((50, 13),)", "[50, 13]"))  # fmt: skip
    kind = dice.choice(("'|O'", "'<f2'", "'>f8'", "'<U7'", "'|S0'", "'<M8[ns]'", "'|V4'", "'<c16'", "[('a', '<f4')]",
                        "'f'", "'<f4,<f4'", "''", "7", "('<f4', (2, 2))", "'<U999999999'", "'|b1'"))  # fmt: skip
    text = header.decode("latin1")
    start, end = text.index("'shape': ") + 9, text.rindex(")") + 1
    way = dice.randrange(4)
    if way == 0:
        text = text[:start] + odd + text[end:]
    elif way == 1:
        text = text.replace(text[text.index("'descr': ") + 9 : text.index(",")], kind)
    elif way == 2:
        text = text.replace("False", dice.choice(("True", "None", "2", "'a'", "")))
    else:
        return data[:10] + flipped(header, dice) + values
    written = text.encode("latin1")
    return data[:8] + struct.pack("<H", len(written)) + written + values


# Archives


def members(data: bytes) -> dict[str, bytes]:
    """Return what is in an archive."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def packed(content: list[tuple[str, bytes]], compression: int = zipfile.ZIP_STORED) -> bytes:
    """Return an archive; names may repeat."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a name that repeats
        for name, member in content:
            archive.writestr(zipfile.ZipInfo(name), member, compression)  # with the same date always
    return stream.getvalue()


def shuffled(data: bytes, dice: random.Random) -> bytes:
    """Swap, repeat, drop, rename or compress members."""
    content = list(members(data).items())
    first, second = (dice.randrange(len(content)) for _ in range(2))
    way, name = dice.randrange(5), content[first][0]
    if way == 0:
        content[first], content[second] = (name, content[second][1]), (content[second][0], content[first][1])
    elif way == 1:
        content.append(content[first])
    elif way == 2:
        del content[first]
    elif way == 3:
        odd = (
            "",
            name + "x",
            "../" + name,
            "/" + name,
            name.upper(),
            name + "/",
            "a/" + name,
            "\udc80",
            "é",
            name * 40,
        )
        content[first] = dice.choice(odd).encode("utf-8", "replace").decode(), content[first][1]
    kind = zipfile.ZIP_STORED if way < 4 else dice.choice((zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA))
    return packed(content, kind)


def inside(*ways: Mutation, only: str = "") -> Mutation:
    """Damage one member in one of these ways and pack the archive again, with the right lengths and sums."""

    def within(data: bytes, dice: random.Random) -> bytes:
        content = members(data)
        name = dice.choice([name for name in content if name.endswith(only) and content[name]])
        compression = dice.choice((zipfile.ZIP_STORED, zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
        return packed(list((content | {name: dice.choice(ways)(content[name], dice)}).items()), compression)

    return within


# HDF5


def restructured(data: bytes, dice: random.Random) -> bytes:
    """Drop, swap, replace or link objects of an HDF5 file, or set one of its attributes to something odd."""
    stream = io.BytesIO(data)
    with h5py.File(stream, "r+") as file:
        names: list[str] = []
        file.visit(names.append)
        name, other = dice.choice(names), dice.choice(names)
        if dice.random() < 0.5:
            _odd_attribute(file if dice.random() < 0.2 else file[name], dice)
        else:
            _replaced(file, name, other, dice)
    return stream.getvalue()


def _odd_attribute(item: Any, dice: random.Random) -> None:
    known = [*item.attrs, "values", "encoding", "connected", "computed_shape", "norm", "stat_mean", "dense_shape"]
    name = dice.choice(known)
    if name in item.attrs and dice.random() < 0.15:
        del item.attrs[name]
    else:
        item.attrs[name] = dice.choice(ODD_ATTRIBUTES)


def _replaced(file: h5py.File, name: str, other: str, dice: random.Random) -> None:
    attributes = dict(file[name].attrs)
    way = dice.randrange(8)
    moved_on = file[other] if not other.startswith(name) and not name.startswith(other) else None
    del file[name]
    if way == 1:
        file.create_group(name)
    elif way == 2:
        file[name] = h5py.SoftLink("/nowhere")
    elif way == 3:
        file[name] = h5py.Empty("f4")
    elif way == 4 and moved_on is not None:
        file[name] = moved_on
        return
    elif way == 5:
        file.create_dataset(name, shape=(2**30, 2**30), chunks=(16, 16), dtype="f4")
    elif way == 6:
        file[name] = file["/"]
        return
    elif way > 0:
        shape = dice.choice(((), (0,), (1,), (0, 3), (3, 1), (2, 3, 1), (4, 3), (1, 1, 1, 1)))
        kind = dice.choice(("f4", "f8", "f2", "i1", "u8", "c8", "?", "S3", "V2", [("a", "f4"), ("b", "i2")], "M8[s]"))
        try:
            file[name] = np.zeros(shape, kind)
        except TypeError:  # no HDF5 for dates
            file.create_dataset(name, shape, h5py.string_dtype())
    if way > 0 and dice.random() < 0.8:
        file[name].attrs.update(attributes) if way != 2 else None


# JSON


def reworded(data: bytes, dice: random.Random) -> bytes:
    """Change, drop or repeat something in JSON."""
    root = json.loads(data)
    places: list[tuple[Any, Any]] = []
    waiting = [root]
    while waiting:
        node = waiting.pop()
        keys = list(node) if isinstance(node, dict) else list(range(len(node)))
        places += [(node, key) for key in keys]
        waiting += [node[key] for key in keys if isinstance(node[key], (dict, list))]
    for _ in range(dice.choice((1, 1, 2))):
        node, key = dice.choice(places)
        way = dice.random()
        if way < 0.2 and isinstance(node, dict):
            node.pop(key, None)
        elif way < 0.3 and isinstance(node, list):
            node.append(node[key])
        elif way < 0.5:
            source, from_key = dice.choice(places)
            if isinstance(source, dict) and from_key in source and not isinstance(source[from_key], (dict, list)):
                node[key] = source[from_key]
        else:
            node[key] = dice.choice(ODD_VALUES)
    return json.dumps(root).encode()


def reworded_attribute(data: bytes, dice: random.Random) -> bytes:
    """Do the same to the architecture of a legacy model."""
    stream = io.BytesIO(data)
    with h5py.File(stream, "r+") as file:
        text = file.attrs["model_config"]
        changed = reworded(text.encode() if isinstance(text, str) else text, dice)
        file.attrs["model_config"] = changed.decode()
    return stream.getvalue()


HDF5: tuple[Mutation, ...] = (*BYTES, restructured, restructured)
NPY: tuple[Mutation, ...] = (*BYTES, array_header, array_header)
NPZ: tuple[Mutation, ...] = (*BYTES, shuffled, inside(*BYTES), inside(array_header))
KERAS: tuple[Mutation, ...] = (
    *BYTES,
    shuffled,
    inside(*BYTES),
    inside(*HDF5, only=".h5"),
    inside(restructured, only=".h5"),
    inside(reworded, only="config.json"),
    inside(reworded, only="config.json"),
)
LEGACY: tuple[Mutation, ...] = (*HDF5, reworded_attribute, reworded_attribute)
