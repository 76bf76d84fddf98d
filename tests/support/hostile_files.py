"""Model files as a stranger might make them: a harmless one that Keras saved, with its parts exchanged."""

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
from keras import layers

CONFIG, WEIGHTS = "config.json", "model.weights.h5"


def harmless(path: Path) -> Path:
    """Save two Dense layers, `hidden` inside the sub-model `block` and `out`, compiled; return the path."""
    x = keras.Input((4,), name="x")
    block = keras.Sequential([keras.Input((4,)), layers.Dense(3, "relu", name="hidden")], name="block")
    model = keras.Model(x, layers.Dense(2, name="out")(block(x)), name="net")
    model.compile("sgd", "mse", metrics=["mae"])
    model.save(path)
    return path


def with_lambda(path: Path, canary: Path, where: str = "top") -> Path:
    """Save a model with a Python lambda that writes the canary when it runs: at the top, nested, or wrapped."""
    source = str(canary)
    code = layers.Lambda(lambda v: (open(source, "w").close(), v)[1], name="mine")
    shape = (5, 4) if where == "wrapped" else (4,)
    x = keras.Input(shape, name="x")
    if where == "nested":
        inner = keras.Sequential([keras.Input((4,)), code, layers.Dense(3, name="hidden")], name="inner")
        model = keras.Model(x, inner(x))
    elif where == "wrapped":
        model = keras.Model(x, layers.TimeDistributed(code, name="steps")(x))
    else:
        model = keras.Model(x, layers.Dense(3, name="hidden")(code(x)))
    model.save(path)
    canary.unlink(missing_ok=True)
    return path


def members(path: Path) -> dict[str, bytes]:
    """Return what is in an archive."""
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def packed(path: Path, content: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> Path:
    """Write an archive."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in content.items():
            archive.writestr(name, data)
    return path


def unpacked(path: Path, folder: Path) -> Path:
    """Write the members of an archive into a folder."""
    for name, data in members(path).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def with_config(path: Path, target: Path, change: Callable[[dict[str, Any]], Any]) -> Path:
    """Copy a `.keras` archive or a legacy HDF5 model with a changed architecture."""
    if path.suffix == ".h5":
        target.write_bytes(path.read_bytes())
        with h5py.File(target, "r+") as file:
            config = json.loads(file.attrs["model_config"])
            change(config)
            file.attrs["model_config"] = json.dumps(config)
        return target
    content = members(path)
    config = json.loads(content[CONFIG])
    change(config)
    return packed(target, content | {CONFIG: json.dumps(config).encode()})


def with_weights(path: Path, target: Path, change: Callable[[h5py.Group], Any]) -> Path:
    """Copy a model file or folder with changed weights; `change` gets the group that holds those of one layer."""

    def edit(file: h5py.File, group: str) -> None:
        change(file[group])

    if path.is_dir():
        target.mkdir()
        for item in path.iterdir():
            (target / item.name).write_bytes(item.read_bytes())
        with h5py.File(target / WEIGHTS, "r+", libver="latest") as file:
            edit(file, "layers/dense/vars")
    elif path.suffix == ".h5":
        target.write_bytes(path.read_bytes())
        with h5py.File(target, "r+", libver="latest") as file:
            edit(file, "model_weights/out/out" if "out/out" in file["model_weights"] else "model_weights/out/net/out")
    else:
        content = members(path)
        stream = io.BytesIO(content[WEIGHTS])
        with h5py.File(stream, "r+", libver="latest") as file:
            edit(file, "layers/dense/vars")
        packed(target, content | {WEIGHTS: stream.getvalue()})
    return target


def layer_of(config: dict[str, Any], name: str) -> dict[str, Any]:
    """Return the serialized layer of a name, wherever it is."""
    waiting: list[Any] = [config]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            inner = node.get("config")
            if "class_name" in node and isinstance(inner, dict) and inner.get("name") == name:
                return node
            waiting.extend(node.values())
        elif isinstance(node, list):
            waiting.extend(node)
    raise KeyError(name)


def function(module: str, name: str) -> dict[str, Any]:
    """Return a function as Keras serializes it."""
    return {"module": module, "class_name": "function", "config": name, "registered_name": name}


def instance(module: str | None, name: str, /, **config: Any) -> dict[str, Any]:
    """Return an object as Keras serializes it."""
    return {"module": module, "class_name": name, "config": config, "registered_name": name}


def npy_header(shape: tuple[int, ...], data: bytes = b"", dtype: str = "<f4") -> bytes:
    """Return a `.npy` that promises `shape` and holds `data`."""
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": dtype, "fortran_order": False, "shape": shape})
    return stream.getvalue() + data
