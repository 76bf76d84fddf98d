"""Archives, folders and weights files that lead elsewhere, or that declare more than they hold."""

import os
import stat
import struct
import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from support import hostile_files as hostile
from support.command import Ended, Run

pytestmark = pytest.mark.tensorflow

SECRET = "secret.h5"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a harmless model as `.keras`, as `.h5` and as a folder."""
    folder = tmp_path_factory.mktemp("models")
    for ending in ("keras", "h5"):
        hostile.harmless(folder / f"m.{ending}")
    hostile.unpacked(folder / "m.keras", folder / "m")
    return folder


def assert_refused(done: Ended, *words: str) -> None:
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1, done.stderr
    assert done.stderr.startswith("Error: ")
    for word in words:
        assert word in done.stderr, done.stderr


# --- members


@pytest.mark.parametrize(
    "name", ["../canary", "/tmp/canary", "assets/../../canary", "..\\canary", "C:\\canary", "assets/x/../../../canary"]
)
def test_a_member_outside_of_the_folder(tfdump: Run, models: Path, tmp_path: Path, name: str) -> None:
    path = hostile.packed(tmp_path / "x.keras", hostile.members(models / "m.keras") | {name: b"sung", "assets/y": b""})
    assert_refused(tfdump("layers", path), "x.keras", "is outside of the archive (save the model again)")
    assert_refused(tfdump("layers", path, "--trust-model"), "is outside of the archive (save the model again)")
    assert not list(tmp_path.parent.glob("canary"))


def test_a_member_that_is_a_link(tfdump: Run, models: Path, tmp_path: Path) -> None:
    path = hostile.packed(tmp_path / "x.keras", hostile.members(models / "m.keras"))
    link = zipfile.ZipInfo("assets/words")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(link, "/etc/passwd")
    assert_refused(tfdump("layers", path), "'assets/words' is a link")


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("name", ["config.json", "./config.json", "config.json/"])
def test_two_members_of_one_name(tfdump: Run, models: Path, tmp_path: Path, name: str) -> None:
    path = hostile.packed(tmp_path / "x.keras", hostile.members(models / "m.keras"))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(name, b"{}" if not name.endswith("/") else b"")
    assert_refused(tfdump("layers", path), "two members")


def test_a_folder_with_a_link_in_it(tfdump: Run, models: Path, tmp_path: Path) -> None:
    folder = hostile.unpacked(models / "m.keras", tmp_path / "m")
    (folder / "model.weights.h5").rename(tmp_path / "elsewhere.h5")
    (folder / "model.weights.h5").symlink_to(tmp_path / "elsewhere.h5")
    assert_refused(tfdump("layers", "m"), "model.weights.h5 is a link", "--trust-model")
    assert tfdump("layers", "m", "--trust-model").returncode == 0
    (folder / "model.weights.h5").unlink()
    (tmp_path / "elsewhere.h5").rename(folder / "model.weights.h5")
    assert tfdump("layers", "m").returncode == 0
    (folder / "assets").symlink_to("/etc")
    assert_refused(tfdump("layers", "m"), "assets is a link")


def test_a_model_that_is_a_link_itself(tfdump: Run, models: Path, tmp_path: Path) -> None:
    (tmp_path / "link.keras").symlink_to(models / "m.keras")
    assert tfdump("layers", "link.keras").returncode == 0


def test_an_archive_that_unpacks_to_more_than_is_allowed(tfdump: Run, models: Path, tmp_path: Path) -> None:
    content = hostile.members(models / "m.keras")
    path = hostile.packed(tmp_path / "x.keras", content | {"assets/bomb": bytes(64 << 20)}, zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 1 << 20
    assert_refused(tfdump("layers", path, "--max-bytes", "32MiB"), "unpacks to 64.", "32.0 MiB", "--max-bytes")
    assert tfdump("layers", path, "--max-bytes", "80MiB").returncode == 0
    assert_refused(tfdump("layers", models / "m.keras", "--max-bytes", "100"), "allow it: --max-bytes")


def test_a_member_that_is_larger_than_it_says(tfdump: Run, models: Path, tmp_path: Path) -> None:
    """The directory of the archive says 1000 bytes, the compressed bytes give 64 MiB: no more than 1000 are taken."""
    content = hostile.members(models / "m.keras")
    path = hostile.packed(tmp_path / "x.keras", content | {hostile.WEIGHTS: bytes(64 << 20)}, zipfile.ZIP_DEFLATED)
    data = path.read_bytes()
    assert data.count(struct.pack("<I", 64 << 20)) == 2
    path.write_bytes(data.replace(struct.pack("<I", 64 << 20), struct.pack("<I", 1000)))
    assert_refused(tfdump("layers", path, "--max-bytes", "1MiB"), "x.keras")


def test_compressed_members_are_read_as_well(tfdump: Run, models: Path, tmp_path: Path) -> None:
    path = hostile.packed(tmp_path / "x.keras", hostile.members(models / "m.keras"), zipfile.ZIP_DEFLATED)
    assert tfdump("layers", path).stdout == tfdump("layers", models / "m.keras").stdout


# --- weights


def external_link(group: h5py.Group) -> None:
    del group["0"]
    group["0"] = h5py.ExternalLink(SECRET, "/values")


def external_link_of_a_group(group: h5py.Group) -> None:
    group["inner"] = h5py.ExternalLink(SECRET, "/")


def soft_link(group: h5py.Group) -> None:
    del group["0"]
    group["0"] = h5py.SoftLink(f"{group.name}/1")


def cycle_of_soft_links(group: h5py.Group) -> None:
    del group["0"]
    group["0"], group["2"] = h5py.SoftLink(f"{group.name}/2"), h5py.SoftLink(f"{group.name}/0")


def external_storage(group: h5py.Group) -> None:
    del group["0"]
    group.create_dataset("0", (3, 2), "f4", external=[("/etc/passwd", 0, 24)])


def virtual(group: h5py.Group) -> None:
    del group["0"]
    layout = h5py.VirtualLayout((3, 2), "f4")
    layout[:] = h5py.VirtualSource(SECRET, "values", (3, 2))
    group.create_virtual_dataset("0", layout)


def declares_too_much(group: h5py.Group) -> None:
    del group["0"]
    group.create_dataset("0", (1 << 20, 1 << 20), "f4", chunks=(1024, 1024), compression="gzip")


def declares_too_much_in_one_piece(group: h5py.Group) -> None:
    group.create_dataset("2", (1 << 30, 1 << 10), "f4")


def large_attribute(group: h5py.Group) -> None:
    group.create_group("inner").attrs.create("many", ["x"] * 5000, dtype=h5py.string_dtype())


def text(group: h5py.Group) -> None:
    group.create_dataset("2", data=["a"], dtype=h5py.string_dtype())


WEIGHTS = {
    external_link: "is a link to another place",
    external_link_of_a_group: "is a link to another place",
    soft_link: "is a link to another place",
    cycle_of_soft_links: "is a link to another place",
    external_storage: "is stored in external files",
    virtual: "is virtual",
    declares_too_much: "declares more values than the file holds",
    declares_too_much_in_one_piece: "declares more values than the file holds",
    large_attribute: "the attribute 'many'",
    text: "which cannot be weights",
}


@pytest.mark.parametrize("change", WEIGHTS, ids=lambda change: change.__name__)
def test_weights_that_are_not_in_the_file(tfdump: Run, models: Path, tmp_path: Path, change: Any) -> None:
    with h5py.File(tmp_path / SECRET, "w") as file:
        file["values"] = np.ones((3, 2), "float32")
    for name in ("m.keras", "m.h5", "m"):
        path = hostile.with_weights(models / name, tmp_path / name, _with_names(change))
        assert_refused(tfdump("layers", path), name, WEIGHTS[change])
        if name == "m.keras":
            assert_refused(tfdump("layers", path, "--trust-model"), WEIGHTS[change])


def _with_names(change: Any) -> Any:
    """Return a change for weights by number that does the same to those of a legacy file, which have names."""

    def changed(group: h5py.Group) -> None:
        if "kernel" in group:
            group.move("kernel", "0")
            group.move("bias", "1")
        change(group)

    return changed


def test_a_cycle_of_hard_links_is_walked_once(tfdump: Run, models: Path, tmp_path: Path) -> None:
    def change(group: h5py.Group) -> None:
        group.file["again"] = group.file["/"]
        group.file["layers/again"] = group.file["layers"]

    path = hostile.with_weights(models / "m.keras", tmp_path / "x.keras", change)
    assert tfdump("layers", path).returncode == 0


def test_chunks_that_are_there_however_well_compressed(tfdump: Run, models: Path, tmp_path: Path) -> None:
    """Weights that Keras would not read, but large: what they declare counts, not what they take in the file."""

    def change(group: h5py.Group) -> None:
        group.create_dataset("2", data=np.zeros(4 << 20, "f4"), chunks=(1 << 20,), compression="gzip")

    path = hostile.with_weights(models / "m.keras", tmp_path / "x.keras", change)
    assert_refused(tfdump("layers", path, "--max-bytes", "8MiB"), "declares weights of 16.0 MiB", "--max-bytes")


def test_weights_as_npz_are_not_read(tfdump: Run, models: Path, tmp_path: Path) -> None:
    content = hostile.members(models / "m.keras")
    del content[hostile.WEIGHTS]
    path = hostile.packed(tmp_path / "x.keras", content | {"model.weights.npz": hostile.npy_header((1 << 40,))})
    assert_refused(tfdump("layers", path), "model.weights.h5 is missing")


def test_a_large_attribute_of_a_model(tfdump: Run, tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x.h5", "w", libver="latest") as file:
        file.attrs["model_config"] = "{}"
        file.attrs["padding"] = np.zeros(20 << 20, "u1")
    assert_refused(tfdump("layers", "x.h5"), "x.h5", "the attribute 'padding'")


def test_a_pipe_or_a_device_is_no_model(tfdump: Run, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.keras")
    for path in ("pipe.keras", "/dev/zero"):
        assert_refused(tfdump("layers", path), "is not a regular file")
