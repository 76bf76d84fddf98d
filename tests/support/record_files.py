"""TFRecord files, written by TensorFlow."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf


def feature(values: Any) -> tf.train.Feature:
    """A feature of the kind that the values have: numbers, text or bytes."""
    items = [values] if isinstance(values, (bytes, str)) else np.asarray(values).reshape(-1).tolist()
    if any(isinstance(item, (bytes, str)) for item in items):
        texts = [item.encode() if isinstance(item, str) else item for item in items]
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=texts))
    if isinstance(values, np.ndarray) and values.dtype.kind == "f":
        return tf.train.Feature(float_list=tf.train.FloatList(value=items))
    return tf.train.Feature(int64_list=tf.train.Int64List(value=items))


def example(features: Mapping[str, Any]) -> bytes:
    """A serialized example."""
    entries = {name: feature(values) for name, values in features.items()}
    data: bytes = tf.train.Example(features=tf.train.Features(feature=entries)).SerializeToString()
    return data


def write_records(path: Path, records: Iterable[bytes | Mapping[str, Any]], compression: str = "") -> Path:
    """Write examples, or other bytes, to a TFRecord file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tf.io.TFRecordWriter(str(path), compression) as writer:
        for record in records:
            writer.write(record if isinstance(record, bytes) else example(record))
    return path


def parsed(paths: list[Path], spec: Mapping[str, Any], compression: str = "") -> dict[str, np.ndarray]:
    """What TensorFlow reads from TFRecord files: the independent route."""
    data = tf.data.TFRecordDataset([str(path) for path in paths], compression)
    batch = next(iter(data.batch(1 << 20)))
    return {name: value.numpy() if hasattr(value, "numpy") else value
            for name, value in tf.io.parse_example(batch, spec).items()}  # fmt: skip
