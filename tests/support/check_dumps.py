"""Dumps with hand-planted faults, made with h5py alone."""

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from tfdump.checks import CheckReport, Finding


def write_dump(path: Path, tensors: dict[str, Any], config: Any = None, loss: Any = None, **root: Any) -> Path:
    """Write a dump of tensors by group and address: an array, or an array with further attributes.

    `axis0` is `example` and `class` is Dense unless the attributes say something else.
    """
    with h5py.File(path, "w", track_order=True) as file:
        file.attrs.update({"format": "tfdump", "format_version": 1, "kind": "activations", "not_captured": "[]"} | root)
        for order, (name, entry) in enumerate(tensors.items()):
            values, further = entry if isinstance(entry, tuple) else (entry, {})
            group, _, address = name.rpartition("/")
            into = file[group] if group in file else file.create_group(group, track_order=True)
            text = values.dtype.kind == "O"
            dtype = h5py.string_dtype() if text else values.dtype
            dataset = into.create_dataset(address, data=values, dtype=dtype)
            kind = "string" if text else values.dtype.newbyteorder("=").name
            layer = address.partition(":")[0]
            attributes = {"address": address, "layer": layer, "order": order, "class": "Dense", "axis0": "example"}
            dataset.attrs.update(attributes | {"dtype": kind} | further)
        if config is not None:
            file["config"] = config if isinstance(config, str) else json.dumps(config)
        if loss is not None:
            file["loss"] = loss
    return path


def functional(*layers: tuple[str, str, dict[str, Any]], outputs: tuple[str, ...] = ()) -> dict[str, Any]:
    """The configuration of a functional model of layers: class, name, settings."""
    return {
        "class_name": "Functional",
        "config": {
            "name": "model",
            "layers": [{"class_name": kind, "config": {"name": name, **more}} for kind, name, more in layers],
            "output_layers": [[name, 0, 0] for name in outputs],
        },
    }


def of(report: CheckReport, check: str) -> list[Finding]:
    return [finding for finding in report.findings if finding.check == check]


def the(report: CheckReport, check: str) -> Finding:
    """The one finding of a check."""
    (finding,) = of(report, check)
    return finding


def normal(*shape: int, seed: int = 0, dtype: str = "float32") -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)
