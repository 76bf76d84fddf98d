"""HDF5 files of strangers are opened without following anything out of the file."""

import os
from pathlib import Path

import h5py
import numpy as np
import pytest

from tfdump.errors import DumpError, InputError
from tfdump.files.hdf5 import check_stored_inside, has_link, lookup, open_hdf5


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file with good data and with every way out of it."""
    with h5py.File(tmp_path / "secret.h5", "w") as secret:
        secret["t"] = np.arange(4)
    (tmp_path / "raw.bin").write_bytes(bytes(32))
    with h5py.File(tmp_path / "data.h5", "w") as file:
        file["deep/down/here"] = np.arange(4)
        file["hard"] = file["deep/down/here"]
        file["soft"] = h5py.SoftLink("/deep/down/here")
        file["soft_group"] = h5py.SoftLink("/deep")
        file["dangling"] = h5py.SoftLink("/nowhere")
        file["outside"] = h5py.ExternalLink("secret.h5", "/t")
        file["type"] = np.dtype("f4")
        layout = h5py.VirtualLayout((4,), "i8")
        layout[:] = h5py.VirtualSource("secret.h5", "t", (4,))
        file.create_virtual_dataset("virtual", layout)
        file.create_dataset("raw", (4,), "i8", external=[("raw.bin", 0, 32)])
    return tmp_path / "data.h5"


@pytest.mark.parametrize("name", ["deep/down/here", "/deep/down/here", "deep//down/here/", "hard"])
def test_hard_links_are_followed(path: Path, name: str) -> None:
    with open_hdf5(path, InputError) as file:
        assert lookup(file, name, InputError)[()].tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("name", ["/", ""])
def test_the_root_is_the_file_itself(path: Path, name: str) -> None:
    with open_hdf5(path, InputError) as file:
        assert lookup(file, name, InputError).name == "/"


def test_a_lookup_may_start_in_a_group(path: Path) -> None:
    with open_hdf5(path, InputError) as file:
        assert lookup(file["deep"], "down/here", InputError).shape == (4,)


@pytest.mark.parametrize("name", ["soft", "soft_group/down/here", "dangling", "outside"])
@pytest.mark.parametrize("error", [InputError, DumpError])
def test_other_links_are_refused_with_the_error_of_the_caller(path: Path, name: str, error: type[Exception]) -> None:
    link = name.partition("/")[0]
    with open_hdf5(path, error) as file, pytest.raises(error, match=f"'/{link}' is a link"):
        lookup(file, name, error)


@pytest.mark.parametrize(("name", "kind"), [("virtual", "virtual"), ("raw", "external files")])
def test_values_in_other_files_are_refused(path: Path, name: str, kind: str) -> None:
    with open_hdf5(path, InputError) as file:
        with pytest.raises(InputError, match=f"'/{name}' is .*{kind}"):
            lookup(file, name, InputError)
        with pytest.raises(InputError, match=kind):
            check_stored_inside(file[name], InputError)


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("deep/down/her", "no '/deep/down/her'; near: 'here'"),
        ("Deep", "no '/Deep'; near: 'deep'"),
        ("hard/x", "no '/hard/x'"),
        ("type/x", "no '/type/x'"),
        ("./hard", "no '/.'"),
        ("deep/../hard", r"no '/deep/\.\.'"),
    ],
)
def test_a_path_that_leads_nowhere_is_named_with_near_names(path: Path, name: str, complaint: str) -> None:
    with open_hdf5(path, InputError) as file, pytest.raises(InputError, match=complaint):
        lookup(file, name, InputError)


def test_has_link_sees_links_without_following_them(path: Path) -> None:
    with open_hdf5(path, InputError) as file:
        assert all(has_link(file, name) for name in ("hard", "dangling", "outside"))
        assert not has_link(file, "nowhere")


def test_a_file_is_opened_for_reading_only(path: Path) -> None:
    with open_hdf5(path, InputError) as file, pytest.raises(ValueError, match="no write intent"):
        file["new"] = 1


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DumpError, match=r"no such file: .*none\.h5"):
        open_hdf5(tmp_path / "none.h5", DumpError)


def test_a_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(DumpError, match="is a folder"):
        open_hdf5(tmp_path, DumpError)


@pytest.mark.parametrize("content", [b"", b"\x89HDF", b"\x89HDF\r\n\x1a\n", b"text" * 500])
def test_what_is_not_hdf5_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.h5").write_bytes(content)
    with pytest.raises(DumpError, match=r"x\.h5"):
        open_hdf5(tmp_path / "x.h5", DumpError)


def test_a_truncated_file_is_refused_at_any_length(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "whole.h5", "w") as file:
        file["t"] = np.arange(1000)
    whole = (tmp_path / "whole.h5").read_bytes()
    for length in [*range(0, 200, 7), *range(200, len(whole), 501), len(whole) - 1]:
        (tmp_path / "x.h5").write_bytes(whole[:length])
        with pytest.raises(DumpError, match=r"x\.h5 .*(truncated|not an HDF5 file)|cannot open .*x\.h5"):
            open_hdf5(tmp_path / "x.h5", DumpError)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read anything")
def test_a_file_without_permission_is_named(path: Path) -> None:
    path.chmod(0)
    with pytest.raises(DumpError, match=r"cannot read .*Permission denied"):
        open_hdf5(path, DumpError)
