"""Features of records as the arrays of a model, against `tf.io.parse_example`."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from support.record_files import example, parsed, write_records
from tfdump.errors import InputError
from tfdump.files.limits import allowed
from tfdump.inputs.arguments import open_arguments
from tfdump.inputs.data_options import DataOptions
from tfdump.inputs.identity import NamedReader
from tfdump.inputs.matching import match
from tfdump.inputs.readers import Reader
from tfdump.inputs.source import ReadingOptions, Source
from tfdump.tensors import InputSpec

pytestmark = pytest.mark.tensorflow

SPECS = [InputSpec("x", (None, 2, 3), "float32"), InputSpec("age", (None, 1), "float32")]


def examples(count: int, start: int = 0) -> list[dict[str, Any]]:
    random = np.random.default_rng(start)
    return [
        {
            "x": random.normal(size=6).astype(np.float32),
            "age": np.array([row]),
            "pixels": random.integers(0, 256, 12, dtype=np.uint8).tobytes(),
            "numbers": random.normal(size=4).astype("<f2").tobytes(),
            "tokens": random.integers(1, 1000, row % 4),
            "words": ["a", f"wörd {row}"],
            "label": row % 3,
        }
        for row in range(start, start + count)
    ]


def readers(
    path: Path | str, specs: list[InputSpec], spec: dict[str, Any] | None = None, skip_damaged: bool = False
) -> dict[str, Reader]:
    file = None
    if spec is not None:
        file = Path(str(path).split("*")[0].split("::")[0] + ".json")
        file.write_text(json.dumps(spec))
    options = DataOptions(features=file, skip_damaged=skip_damaged)
    return match(open_arguments([str(path)], options=options), specs)


def rows(path: Path | str, specs: list[InputSpec], spec: dict[str, Any] | None = None) -> dict[str, np.ndarray]:
    return {name: reader.read(0, reader.shape[0]) for name, reader in readers(path, specs, spec).items()}


def one(name: str, shape: tuple[int | None, ...] | None, dtype: str | None = "float32") -> list[InputSpec]:
    return [InputSpec(name, shape, dtype)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write_records(tmp_path / "a.tfrecord", examples(20))


def test_features_go_to_the_inputs_of_their_names(path: Path) -> None:
    read = rows(path, SPECS)
    expected = parsed([path], {"x": tf.io.FixedLenFeature((2, 3), tf.float32),
                               "age": tf.io.FixedLenFeature((1,), tf.int64)})  # fmt: skip
    np.testing.assert_array_equal(read["x"], expected["x"])
    np.testing.assert_array_equal(read["age"], expected["age"])
    assert read["x"].dtype == np.float32
    source = Source(SPECS, readers(path, SPECS), ReadingOptions(examples=(3, 9)), lambda text: None)
    np.testing.assert_array_equal(source.read(1, 4)["age"][:, 0], [4, 5, 6])
    assert source.example_id(0) == "a.tfrecord:3"


@pytest.mark.parametrize("compression", ["", "GZIP"])
def test_shards_are_read_in_order(tmp_path: Path, compression: str) -> None:
    ending = ".gz" if compression else ""
    paths = [
        write_records(tmp_path / f"part/t-{n}.tfrecord{ending}", examples(count, 100 * n), compression)
        for n, count in enumerate([7, 0, 5])
    ]
    expected = parsed(paths, {"x": tf.io.FixedLenFeature((2, 3), tf.float32)}, compression)["x"]
    for argument, prefix in ((tmp_path / "part", "part/"), (f"{tmp_path}/part/t-*.tfrecord{ending}", "")):
        reader = readers(argument, one("x", (None, 2, 3)))["x"]
        assert reader.shape == (12, 2, 3)
        np.testing.assert_array_equal(reader.read(0, 12), expected)
        np.testing.assert_array_equal(reader.read(5, 9), expected[5:9])
        assert isinstance(reader, NamedReader)
        assert reader.names.read(6, 9) == [
            f"{prefix}t-{n}.tfrecord{ending}:{row}" for n, row in ((0, 6), (2, 0), (2, 1))
        ]


def test_sharded_names_of_tensorflow_datasets(tmp_path: Path) -> None:
    for shard in range(2):
        write_records(tmp_path / f"d/m-train.tfrecord-{shard:05}-of-00002", examples(2, shard * 10))
    (tmp_path / "d/features.json").write_text("{}")
    reader = readers(tmp_path / "d", one("age", (None, 1)))["age"]
    assert reader.read(0, 4).tolist() == [[0], [1], [10], [11]]
    assert isinstance(reader, NamedReader)
    assert reader.remarks(0, 4) == [f"1 other file in {tmp_path}/d is not read: 1 .json"]


def test_raw_bytes_as_decode_raw_reads_them(path: Path) -> None:
    read = rows(path, one("pixels", (None, 2, 2, 3)))["pixels"]
    texts = parsed([path], {"pixels": tf.io.FixedLenFeature((), tf.string)})["pixels"]
    np.testing.assert_array_equal(read.reshape(20, -1), tf.io.decode_raw(texts, tf.uint8))
    assert read.dtype == np.uint8
    read = rows(path, one("in", (None, 4)), {"numbers": {"decode": "raw", "dtype": "float16", "input": "in"}})["in"]
    texts = parsed([path], {"numbers": tf.io.FixedLenFeature((), tf.string)})["numbers"]
    np.testing.assert_array_equal(read, tf.io.decode_raw(texts, tf.float16))


def test_features_of_different_lengths(path: Path) -> None:
    reader = readers(path, one("tokens", (None, None), "int32"))["tokens"]
    expected = tf.sparse.to_dense(parsed([path], {"tokens": tf.io.VarLenFeature(tf.int64)})["tokens"]).numpy()
    np.testing.assert_array_equal(reader.read(0, 20), expected)
    source = Source(
        one("tokens", (None, None), "int32"), {"tokens": reader}, ReadingOptions(pad_to=8), lambda text: None
    )
    assert source.read(2, 4)["tokens"].shape == (2, 8)
    assert source.lengths["tokens"].tolist() == [row % 4 for row in range(20)]
    read = rows(path, one("tokens", None, None), {"tokens": {"shape": [None]}})["tokens"]
    np.testing.assert_array_equal(read, expected)


def test_text(path: Path) -> None:
    read = rows(path, one("words", (None, 2), "string"))["words"]
    assert read[1].tolist() == [b"a", "wörd 1".encode()]
    assert rows(path, one("label", None, None))["label"].tolist() == [row % 3 for row in range(20)]


def test_one_feature_by_its_name(path: Path) -> None:
    assert rows(f"{path}::age", one("out", None, None))["out"].tolist() == list(range(20))
    both = match(open_arguments([f"{path}::age", f"{path}::x"]), [*one("p", (None, 1)), *one("q", (None, 6))])
    assert both["p"].read(0, 2).tolist() == [[0], [1]]
    assert both["q"].shape == (20, 6)


def test_a_model_of_one_input_takes_the_only_feature(tmp_path: Path) -> None:
    path = write_records(tmp_path / "a.tfrecords", [{"f": np.array([1.0, 2.0], np.float32)}])
    assert rows(path, one("input_layer", (None, 2)))["input_layer"].tolist() == [[1, 2]]
    many = write_records(tmp_path / "b.tfrecords", examples(3))
    np.testing.assert_array_equal(
        rows(many, one("input_layer", (None, 2, 3)))["input_layer"], rows(many, one("x", (None, 2, 3)))["x"]
    )
    reader = readers(many, one("input_layer", (None, 2, 3)))["input_layer"]
    assert isinstance(reader, NamedReader)
    note = f"the input 'input_layer' takes the feature 'x' of {many}, the only one of its shape"
    assert list(reader.remarks(0, 3)) == [note]
    assert "has no feature 'input_layer'" in refused(many, one("input_layer", (None, 1)))  # age and label fit
    assert "has no feature 'input_layer'" in refused(many, one("input_layer", (None, 6), "int32"))
    assert rows(many, one("input_layer", (None, 4), "float16"))["input_layer"].dtype == np.float16
    read = rows(many, one("input_layer", (None, 6)), {"x": {"dtype": "float32", "shape": [6]}})["input_layer"]
    assert read.shape == (3, 6)


def test_defaults_of_missing_features(tmp_path: Path) -> None:
    path = write_records(tmp_path / "a.tfrecord", [{"a": np.array([1])}, {"b": np.array([2])}, {"a": np.array([3])}])
    spec = {"a": {"dtype": "int64", "shape": [1], "default": -1}}
    expected = parsed([path], {"a": tf.io.FixedLenFeature((1,), tf.int64, default_value=[-1])})["a"]
    np.testing.assert_array_equal(rows(path, one("a", (None, 1), "int64"), spec)["a"], expected)


def refused(path: Path | str, specs: list[InputSpec], spec: dict[str, Any] | None = None) -> str:
    with pytest.raises(InputError) as caught:
        rows(path, specs, spec)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_record_that_lacks_a_feature(tmp_path: Path) -> None:
    path = write_records(tmp_path / "a.tfrecord", [{"a": np.array([1])}, {"b": np.array([2])}])
    assert f"record 1 of {path} (at byte " in refused(path, one("a", (None, 1), "int64"))
    assert "lacks the feature 'a'" in refused(path, one("a", (None, 1), "int64"))


def test_features_that_do_not_fit(path: Path, tmp_path: Path) -> None:
    assert "has no feature 'agee'; near: 'age'" in refused(f"{path}::agee", one("p", None))
    assert "has no feature 'p'" in refused(path, one("p", (None, 1)))
    assert "takes 7" in refused(path, one("x", (None, 7)))
    assert "holds 12 bytes" in refused(path, one("pixels", (None, 5)))
    assert "--features says float32" in refused(path, one("age", (None, 1)), {"age": "float32"})
    assert "cannot be decoded" in refused(path, one("age", (None, 1)), {"age": {"decode": "raw"}})
    assert "has no key 'shap'; near: 'shape'" in refused(path, one("age", (None, 1)), {"age": {"shap": 1}})
    assert "only the first size" in refused(path, one("age", (None, 1)), {"age": {"shape": [2, None]}})
    assert "leaves their shape open: (?, ?)" in refused(path, one("x", (None, None, None)))
    mixed = write_records(tmp_path / "m.tfrecord", [{"a": np.array([1])}, {"a": np.array([1.0], np.float32)}])
    assert "holds float32 as feature 'a', and not int64" in refused(mixed, one("a", (None, 1)))
    assert "has no records" in refused(write_records(tmp_path / "n.tfrecord", []), one("a", (None, 1)))
    with allowed(1000):
        assert "more than the" in refused(path, one("x", (None, 2, 3)))


def test_other_messages_are_refused(tmp_path: Path) -> None:
    sequence = tf.train.SequenceExample()
    sequence.feature_lists.feature_list["b"].feature.add().int64_list.value.append(1)
    path = write_records(tmp_path / "s.tfrecord", [sequence.SerializeToString()])
    assert f"record 0 of {path} (at byte 0) cannot be read: it is a tf.train.SequenceExample" in refused(path, SPECS)
    path = write_records(tmp_path / "t.tfrecord", [b"only text"])
    assert "is not a tf.train.Example" in refused(path, SPECS)


def test_damaged_records_are_left_out_if_asked_to(tmp_path: Path) -> None:
    records = [example(item) for item in examples(6)]
    records[1] = b"nonsense"
    path = write_records(tmp_path / "a.tfrecord", records)
    data = bytearray(path.read_bytes())
    starts = np.cumsum([0, *(len(record) + 16 for record in records)])
    data[starts[3] + 40] ^= 1
    path.write_bytes(data[: starts[5] + 20])
    assert f"record 5 of {path} (at byte {starts[5]}) is damaged: the file ends" in refused(path, one("age", (None, 1)))
    reader = readers(path, one("age", (None, 1)), skip_damaged=True)["age"]
    assert reader.shape == (3, 1)
    assert reader.read(0, 3).tolist() == [[0], [2], [4]]
    assert reader.read(2, 3).tolist() == [[4]]
    assert isinstance(reader, NamedReader)
    assert reader.names.read(0, 3) == ["a.tfrecord:0", "a.tfrecord:2", "a.tfrecord:4"]
    assert [name for name, _ in reader.skipped] == ["a.tfrecord:1", "a.tfrecord:3", "a.tfrecord:5"]
    assert reader.remarks(0, 3)[0].startswith("3 damaged records in")


def test_a_wrong_checksum_is_an_error_when_the_record_is_read(tmp_path: Path) -> None:
    path = write_records(tmp_path / "a.tfrecord", [example({"age": np.array([row])}) for row in range(4)])
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(data)
    reader = readers(path, one("age", (None, 1)))["age"]
    assert reader.read(0, 3).tolist() == [[0], [1], [2]]
    with pytest.raises(InputError, match=r"record 3 of .*a.tfrecord \(at byte \d+\) is damaged: its checksum is wrong"):
        reader.read(2, 4)
