"""A dump with one tensor of every kind, made with h5py alone, and the values that were put into it."""

from pathlib import Path

import h5py
import numpy as np

TEXT = h5py.string_dtype("utf-8")

ARRAYS = {
    "conv": np.random.default_rng(0).normal(size=(50, 4, 3, 8)).astype("f4"),
    "dense": np.arange(12, dtype="f4").reshape(4, 3) / 7,
    "Dense": np.ones(2, "f8") / 3,
    "odd": np.array([np.nan, np.inf, -np.inf, -0.0, 1e-45, 3.4028235e38, 0.1], "f4"),
    "double": np.array([np.nan, -np.inf, -0.0, 5e-324, 1.7976931348623157e308, 1 / 3]),
    "half": np.array([[1.5, 6.1e-5], [0.1, 65504]], "f2"),
    "brain": np.array([1.0, 3.140625, -np.inf], "f4"),
    "scalar": np.array(2.5, "f4"),
    "flag": np.array([[True, False]]),
    "complex": np.array([1 + 2j, complex(-np.inf, -0.0)], "c8"),
    "int8": np.array([-128, 0, 127], "i1"),
    "int64": np.array([[-(2**63), 2**63 - 1, -1]]),
    "int32": np.array([-(2**31), 2**31 - 1, -40000, 7], "i4"),
    "uint64": np.array([0, 2**64 - 1], "u8"),
    "uint16": np.array([0, 65535], "u2"),
    "empty": np.zeros((0, 3), "f4"),
    "ragged.values": np.ones(2, "f4"),
}
TEXTS = ['é,\t"q"', "line\nand ?? \\", "", "long" * 30]
RAGGED, SPLITS = np.arange(12, dtype="f4").reshape(6, 2), np.array([0, 1, 1, 6])
DEEP = (np.arange(5, dtype="f4"), np.array([0, 1, 3]), np.array([0, 2, 2, 5]))
SPARSE = (np.array([[7, 8], [9, 10]], "f4"), np.array([[1], [3]]))
STACK = [np.full((2, 1 + n % 2), n, "f4") for n in range(11)]


def describe(item: h5py.Dataset | h5py.Group, dtype: str = "float32", **attributes: object) -> None:
    name = item.name.rpartition("/")[2]
    item.attrs.update(
        {"address": name, "layer": name, "class": "Dense", "dtype": dtype, "axis0": "example", "order": 0} | attributes
    )


def empty_dump(path: Path, **attributes: object) -> h5py.File:
    """A dump without tensors, open for writing."""
    file = h5py.File(path, "w", track_order=True)
    file.attrs.update(format="tfdump", format_version=1, kind="activations", not_captured="[]", model="m.keras")
    file.attrs.update(attributes)
    for name in ("activations", "outputs"):
        file.create_group(name, track_order=True)
    return file


def write_dump(path: Path) -> Path:
    with empty_dump(path, command="tfdump activations 'm*/.keras'") as file:
        layers = file["activations"]
        for name, values in ARRAYS.items():
            chunks = (16, 4, 3, 8) if name == "conv" else None
            brain = {"dtype": "bfloat16", "stored_as": "float32"} if name == "brain" else {}
            describe(layers.create_dataset(name, data=values, chunks=chunks), **({"dtype": values.dtype.name} | brain))
        describe(layers.create_dataset("text", data=TEXTS, dtype=TEXT), "string")
        statistics = {"values": False, "computed_shape": np.array([4, 3]), "stat_nan": 1, "stat_mean": 0.5}
        describe(layers.create_dataset("statistics", shape=(0, 3), dtype="f4"), **statistics)
        describe(layers.create_dataset("unreached", shape=(0, 3), dtype="f4"), connected=False, shape=np.array([5]))
        for name, parts, attributes in (
            ("ragged", {"values": RAGGED, "row_splits": SPLITS}, {"encoding": "ragged"}),
            ("deep", dict(zip(("values", "row_splits", "row_splits_1"), DEEP, strict=True)), {"encoding": "ragged"}),
            (
                "sparse",
                dict(zip(("values", "indices"), SPARSE, strict=True)),
                {"encoding": "sparse", "dense_shape": np.array([4, 2])},
            ),
            ("stack", {str(n): item for n, item in enumerate(STACK)}, {"encoding": "stack", "axis0": "batch"}),
        ):
            group = layers.create_group(name, track_order=True)
            for part, values in parts.items():
                group[part] = values
            describe(group, **attributes)
        describe(file["outputs"].create_dataset("dense", data=ARRAYS["dense"] + 1))
        describe(file["outputs"].create_dataset("logits", data=ARRAYS["dense"] * 2))
    return path
