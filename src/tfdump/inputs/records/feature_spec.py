"""What `--features SPEC.json` tells about the features of records."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tfdump.errors import InputError, near, reason_of

DECODINGS = {"raw": "raw", "image": "image", "jpeg": "image", "png": "image"}
"""What a spec may say about bytes, and what is done."""

_KEYS = ("dtype", "shape", "decode", "default", "input")
_LARGEST_SPEC = 16 << 20
_STORED = {"float32": "float32", "int64": "int64", "string": "string", "bytes": "string"}
_EXAMPLE = '{"age": {"dtype": "float32", "shape": [1]}}'


@dataclass(frozen=True)
class FeatureSpec:
    """What is known about a feature; None where the records or the model tell.

    Attributes
    ----------
    name : str
        Name of the feature in the records.
    dtype : str or None
        How the numbers are stored: float32, int64 or string; for raw bytes the dtype of what they hold.
    shape : tuple or None
        Shape of one example; None along the first axis for rows of different lengths.
    decode : {'raw', 'image'} or None
        What bytes become.
    default : value or None
        What a record that lacks the feature has.
    input : str or None
        The input of the model that takes the feature, where it has another name.
    """

    name: str
    dtype: str | None = None
    shape: tuple[int | None, ...] | None = None
    decode: str | None = None
    default: Any = None
    input: str | None = None


def read_spec(path: Path) -> dict[str, FeatureSpec]:
    """Return the features that a JSON file describes, by their names; raises InputError for anything else."""
    try:
        with path.open("rb") as stream:
            text = stream.read(_LARGEST_SPEC + 1)
    except OSError as cause:
        raise InputError(f"cannot read --features {path}: {reason_of(cause)}") from None
    if len(text) > _LARGEST_SPEC:
        raise InputError(f"--features {path} has more than {_LARGEST_SPEC >> 20} MB, so it is no spec of features")
    try:
        spec = json.loads(text)
    except (ValueError, RecursionError) as cause:
        raise InputError(f"--features {path} is not JSON: {reason_of(cause)} (for example {_EXAMPLE})") from None
    if not isinstance(spec, dict) or not spec:
        raise InputError(f"--features {path} is no object with one entry per feature (for example {_EXAMPLE})")
    return {name: _feature(name, entry, f"--features {path}: '{name}'") for name, entry in spec.items()}


def _feature(name: str, entry: Any, where: str) -> FeatureSpec:
    if isinstance(entry, str):
        entry = {"dtype": entry}
    if not isinstance(entry, dict):
        raise InputError(f"{where} is neither a dtype nor an object such as {_EXAMPLE[8:-1]}")
    for key in entry:
        if key not in _KEYS:
            raise InputError(f"{where} has no key '{key}'{near(key, _KEYS)} (its keys: {', '.join(_KEYS)})")
    decode, dtype, target = entry.get("decode"), entry.get("dtype"), entry.get("input")
    if decode is not None and decode not in DECODINGS:
        raise InputError(f"{where}: decode is one of {', '.join(DECODINGS)}, not {json.dumps(decode)}")
    if target is not None and not isinstance(target, str):
        raise InputError(f"{where}: input is the name of an input of the model, not {json.dumps(target)}")
    spec = FeatureSpec(name, dtype, _shape(entry.get("shape"), where), decode and DECODINGS[decode], input=target)
    return _with_default(_with_dtype(spec, where), entry.get("default"), where)


def _shape(shape: Any, where: str) -> tuple[int | None, ...] | None:
    if shape is None:
        return None
    sizes = [shape] if isinstance(shape, int) else shape
    if not isinstance(sizes, list) or not all(
        size is None or (type(size) is int and 0 < size < 1 << 31) for size in sizes
    ):
        raise InputError(f"{where}: shape is a list of sizes such as [28, 28, 1] or [null], not {json.dumps(shape)}")
    if None in sizes[1:]:
        raise InputError(f"{where}: only the first size can be null, not {json.dumps(shape)}")
    return tuple(sizes)


def _with_dtype(spec: FeatureSpec, where: str) -> FeatureSpec:
    """Return the spec with the name of its dtype as it is used; raises InputError for a dtype that cannot be."""
    if spec.dtype is None or spec.decode == "image":
        return spec
    if spec.decode == "raw":
        try:
            dtype = np.dtype(spec.dtype)
        except (TypeError, ValueError):
            dtype = np.dtype(object)
        if dtype.kind not in "fiubc" or not isinstance(spec.dtype, str):
            raise InputError(
                f"{where}: dtype of raw bytes is one of numbers, such as uint8, not {json.dumps(spec.dtype)}"
            )
        return spec
    if not isinstance(spec.dtype, str) or spec.dtype not in _STORED:
        raise InputError(
            f"{where}: records hold float32, int64 or string, not {json.dumps(spec.dtype)} (numbers are cast to what "
            'the model takes; for numbers in bytes, add "decode": "raw")'
        )
    return FeatureSpec(spec.name, _STORED[spec.dtype], spec.shape, spec.decode, None, spec.input)


def _with_default(spec: FeatureSpec, default: Any, where: str) -> FeatureSpec:
    if default is None:
        return spec
    if spec.decode is not None or (spec.shape and spec.shape[0] is None):
        raise InputError(f"{where}: only a feature of a fixed shape that is not decoded has a default (leave it out)")
    if isinstance(default, bool) or not isinstance(default, (int, float, str)):
        raise InputError(f"{where}: default is a number or a text, not {json.dumps(default)}")
    return FeatureSpec(spec.name, spec.dtype, spec.shape, None, default, spec.input)
