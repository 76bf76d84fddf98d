"""A manifest is read as it was written; what is no manifest is refused with one line."""

import hashlib
import json
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import h5py
import ml_dtypes
import numpy as np
import pytest

from support.shard_manifests import INFO, manifest
from tfdump.dump.shards.manifest import MANIFEST, Manifest, read_manifest, write_manifest
from tfdump.dump.shards.records_as_json import value_from_json, value_to_json
from tfdump.errors import DumpError


def test_a_manifest_is_read_as_it_was_written(tmp_path: Path) -> None:
    written = manifest()
    write_manifest(tmp_path, written)
    read = read_manifest(tmp_path)
    assert read.id == written.id
    assert [name for name, _ in read.root] == [name for name, _ in written.root]
    assert read.to_json() == written.to_json()
    assert read.plan.tensors[0].info.attributes[0] == INFO.attributes[0]
    assert replace(read.plan.tensors[0].info, attributes=()) == replace(INFO, attributes=())
    assert read.not_captured == written.not_captured


def test_the_file_is_canonical_and_has_its_own_hash(tmp_path: Path) -> None:
    write_manifest(tmp_path, manifest())
    text = (tmp_path / MANIFEST).read_text()
    item = json.loads(text)
    assert text == json.dumps(item, sort_keys=True, indent=1) + "\n"
    identity = item.pop("id")
    assert identity == hashlib.sha256(json.dumps(item, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
    assert (item["format"], item["format_version"]) == ("tfdump shards", 1)


@pytest.mark.parametrize(
    "value",
    [
        True, "text", 7, np.int64(-3), 0.1, np.float64(0.1), np.float32(0.1), np.uint8(3), float("nan"), np.bool_(True),
        np.array([1, 2], np.int32), np.array([[0.5], [np.inf]], np.float16), [1, 2], (1, 2), ["a", "b"], [0.5, 0.25],
        np.array(2.5), np.array([1.5], ">f8"),
    ],
)  # fmt: skip
def test_hdf5_stores_the_same_value_of_an_attribute(tmp_path: Path, value: Any) -> None:
    again = value_from_json(json.loads(json.dumps(value_to_json(value))))
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.attrs.create("a", value)
        file.attrs.create("b", again)
        a, b = (file.attrs.get_id(name) for name in "ab")
        assert (a.dtype, a.shape) == (b.dtype, b.shape)
        np.testing.assert_array_equal(file.attrs["a"], file.attrs["b"])


@pytest.mark.parametrize("value", [object(), np.asarray(1, ml_dtypes.bfloat16)])
def test_a_value_without_a_form_is_refused(value: Any) -> None:
    with pytest.raises(TypeError, match="no form in JSON"):
        value_to_json(value)


def test_batches_are_counted_in_the_whole_run() -> None:
    assert [list(manifest().batches_of(*bounds)) for bounds in manifest().ranges] == [[0, 1], [2]]


@pytest.mark.parametrize(
    "ranges",
    [
        ((100, 108),),
        ((100, 104), (108, 110)),
        ((100, 108), (104, 110)),
        ((100, 106), (106, 110)),
        ((0, 10),),
        ((100, 110), (110, 110)),
        (),
    ],
)
def test_ranges_with_gaps_or_between_batches_are_refused(tmp_path: Path, ranges: Any) -> None:
    write_manifest(tmp_path, manifest(ranges=ranges))
    with pytest.raises(DumpError, match=r"manifest.json is damaged: its range"):
        read_manifest(tmp_path)


def test_every_field_has_a_part_in_the_id() -> None:
    for item in fields(Manifest):
        value = getattr(manifest(), item.name)
        other = {"changed": "x"} if isinstance(value, dict) else () if isinstance(value, tuple) else 987
        if item.name == "plan":
            other = replace(value, padding=3)
        if other != value:
            assert manifest(**{item.name: other}).id != manifest().id, item.name


def test_a_changed_manifest_is_damaged(tmp_path: Path) -> None:
    write_manifest(tmp_path, manifest())
    path = tmp_path / MANIFEST
    path.write_text(path.read_text().replace('"seed": 0', '"seed": 1'))
    with pytest.raises(DumpError, match="is damaged: its id is not the SHA-256 of its content"):
        read_manifest(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is damaged"),
        (b"{", "is damaged"),
        (b"\xff\xfe\x00", "is damaged"),
        (b"[" * 100_000, "is damaged"),
        (b"[1]", "is no manifest of shards"),
        (b'{"format": "other"}', "is no manifest of shards"),
        (b'{"format": "tfdump shards", "format_version": 2}', "has format version 2, and this tfdump reads 1"),
        (b'{"format": "tfdump shards", "format_version": 1}', "is damaged: it has no"),
    ],
)
def test_what_is_no_manifest_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / MANIFEST).write_bytes(content)
    with pytest.raises(DumpError, match=message) as refused:
        read_manifest(tmp_path)
    assert "\n" not in str(refused.value)


def test_a_folder_without_a_manifest_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DumpError, match="no such manifest of shards"):
        read_manifest(tmp_path)


def test_a_manifest_is_never_replaced(tmp_path: Path) -> None:
    write_manifest(tmp_path, manifest())
    with pytest.raises(DumpError, match="made by another run meanwhile"):
        write_manifest(tmp_path, manifest(seed=1))
    assert read_manifest(tmp_path).seed == 0
    assert [path.name for path in tmp_path.iterdir()] == [MANIFEST]
