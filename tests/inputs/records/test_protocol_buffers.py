"""Examples, read from their bytes."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from support.record_files import example
from tfdump.inputs.records.protocol_buffers import ExampleError, parse_example

pytestmark = pytest.mark.tensorflow

INTEGERS = [0, 1, -1, 127, 128, 255, 300, 2**31, -(2**31), 2**63 - 1, -(2**63)]
FEATURES = {
    "float": np.array([0.5, -1.25, np.inf, 3e-40], np.float32),
    "few": np.array([7]),
    "small": np.arange(100),
    "integers": np.array(INTEGERS * 5),
    "few negative": np.array([-5]),
    "bytes": [b"", b"\xff\x00", b"text"],
    "größe": "ä",
}


def message(field: int, content: bytes) -> bytes:
    assert len(content) < 128
    return bytes([field << 3 | 2, len(content)]) + content


def test_every_kind_of_value() -> None:
    data = example(FEATURES)
    read = parse_example(data)
    expected = tf.train.Example.FromString(data).features.feature
    assert set(read) == set(FEATURES) == set(expected)
    for name, item in read.items():
        stored = expected[name].WhichOneof("kind")
        assert item.kind == {"bytes_list": "string", "float_list": "float32", "int64_list": "int64"}[stored]
        values = getattr(expected[name], stored).value
        assert item.values.tolist() == list(values)
    assert read["float"].values.dtype == np.float32
    assert read["integers"].values.dtype == np.int64


def test_only_the_wanted_features() -> None:
    assert list(parse_example(example(FEATURES), {"few"})) == ["few"]


def test_features_without_values() -> None:
    empty = tf.train.Example()
    empty.features.feature["nothing"].SetInParent()
    empty.features.feature["no floats"].float_list.SetInParent()
    read = parse_example(empty.SerializeToString())
    assert read["nothing"].kind == ""
    assert read["no floats"].kind == "float32"
    assert [len(item.values) for item in read.values()] == [0, 0]
    assert parse_example(b"") == {}


def test_lists_that_are_not_packed_and_pieces_that_are_merged() -> None:
    floats = b"\x0d" + np.float32(1.5).tobytes() + message(1, np.float32(2.5).tobytes())
    integers = b"\x08\x05" + message(1, b"\x06\x07")
    features = message(1, message(1, b"f") + message(2, message(2, floats)))
    features += message(1, message(1, b"i") + message(2, message(3, integers)))
    data = message(1, features) + message(1, message(1, message(1, b"g") + message(2, message(3, b"\x08\x09"))))
    reference = tf.train.Example.FromString(data).features.feature
    read = parse_example(data)
    assert read["f"].values.tolist() == list(reference["f"].float_list.value) == [1.5, 2.5]
    assert read["i"].values.tolist() == list(reference["i"].int64_list.value) == [5, 6, 7]
    assert read["g"].values.tolist() == [9]


def test_a_sequence_example_is_refused() -> None:
    sequence = tf.train.SequenceExample()
    sequence.context.feature["a"].int64_list.value.append(1)
    sequence.feature_lists.feature_list["b"].feature.add().int64_list.value.append(1)
    with pytest.raises(ExampleError, match="SequenceExample"):
        parse_example(sequence.SerializeToString())


def test_damaged_bytes_never_crash() -> None:
    data, random = example(FEATURES), np.random.default_rng(0)
    outcomes: dict[str, int] = {"read": 0, "refused": 0}
    for _ in range(3000):
        changed: Any = bytearray(data if random.integers(2) else data[: random.integers(1, len(data) + 1)])
        for _ in range(random.integers(0, 4)):
            changed[random.integers(len(changed))] = random.integers(256)
        try:
            parse_example(bytes(changed))
            outcomes["read"] += 1
        except ExampleError:
            outcomes["refused"] += 1
    assert min(outcomes.values()) > 50
