"""Which images a folder, a pattern or a list names, and in which order."""

import os
from pathlib import Path

import pytest

from tfdump.errors import InputError
from tfdump.inputs.images.listing import image_file, images_in_folder, images_in_list, images_of_pattern


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in the working directory."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    return Path("photos")


def make(folder: Path, *names: str) -> Path:
    """Make empty files."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def test_a_flat_folder(folder: Path) -> None:
    files = images_in_folder(make(folder, "b.JPG", "a.png", "B.webp", "10.gif", "9.bmp"))
    assert files.names.read(0, 99) == [f"photos/{name}" for name in ("10.gif", "9.bmp", "B.webp", "a.png", "b.JPG")]
    assert files.names.read(1, 3) == ["photos/9.bmp", "photos/B.webp"]
    assert files.labels is None
    assert files.notes == ()
    assert all(files.path(row).exists() for row in range(5))


def test_class_folders_are_numbered_in_sorted_order(folder: Path) -> None:
    files = images_in_folder(make(folder, "b/1.jpg", "a-x/1.jpg", "a/z.jpg", "a/d/1.jpg", "empty/readme.txt"))
    assert files.names.read(0, 9) == [f"photos/{name}" for name in ("a/z.jpg", "a/d/1.jpg", "a-x/1.jpg", "b/1.jpg")]
    assert files.labels is not None
    assert files.labels.classes == ("a", "a-x", "b", "empty")
    assert files.labels.values.tolist() == [0, 0, 1, 2]


def test_images_beside_subfolders_have_no_classes(folder: Path) -> None:
    files = images_in_folder(make(folder, "a-b/1.jpg", "a/x/1.jpg", "2.jpg"))
    assert files.names.read(0, 9) == ["photos/2.jpg", "photos/a-b/1.jpg", "photos/a/x/1.jpg"]
    assert files.labels is None
    assert files.notes == ("photos has images beside its subfolders, so these are not taken as classes",)


def test_other_files_are_counted(folder: Path) -> None:
    make(folder, "1.jpg", "x.txt", "y.TXT", "notes", ".DS_Store", "._1.jpg", ".git/1.jpg")
    (folder / "pipe.jpg").symlink_to("/dev/null")
    files = images_in_folder(folder)
    assert files.names.read(0, 9) == ["photos/1.jpg"]
    assert files.notes == ("7 other files in photos are not read: 3 hidden, 2 .txt, 1 .jpg, 1 no ending",)


def test_links_to_class_folders_are_followed_and_others_are_not(folder: Path) -> None:
    make(folder.parent, "elsewhere/1.jpg")
    make(folder, "a/1.jpg")
    (folder / "b").symlink_to("../elsewhere")
    (folder / "a/loop").symlink_to("..")
    files = images_in_folder(folder)
    assert files.names.read(0, 9) == ["photos/a/1.jpg", "photos/b/1.jpg"]
    assert files.notes == ("1 other file in photos is not read: 1 no ending",)


def test_names_need_not_be_utf_8(folder: Path) -> None:
    make(folder, os.fsdecode(b"\xff.jpg"), "ä.jpg")
    files = images_in_folder(folder)
    assert files.names.read(0, 2) == ["photos/ä.jpg", "photos/\udcff.jpg"]
    assert files.path(1).exists()


def test_the_name_of_a_folder_is_its_own(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(folder, "a/1.jpg")
    assert images_in_folder(folder.absolute()).names.read(0, 1) == ["photos/a/1.jpg"]
    monkeypatch.chdir(folder / "a")
    assert images_in_folder(Path("..")).names.read(0, 1) == ["photos/a/1.jpg"]
    assert images_in_folder(Path()).names.read(0, 1) == ["1.jpg"]


def test_folders_without_images_are_refused(folder: Path) -> None:
    with pytest.raises(InputError, match=r"photos is a folder without files \(put images into it"):
        images_in_folder(folder)
    with pytest.raises(
        InputError, match=r"photos has no images among 2 other files: 1 \.csv, 1 \.npy \(JPEG, PNG, GIF"
    ):
        images_in_folder(make(folder, "x.csv", "sub/y.npy"))


def test_a_pattern(folder: Path) -> None:
    make(folder, "b/1.jpg", "b/2.png", "a/3.jpg", "a/x.txt", "a/deep/4.jpg")
    files = images_of_pattern("photos/*/*.jpg")
    assert files.names.read(0, 9) == ["photos/a/3.jpg", "photos/b/1.jpg"]
    assert [files.path(row).exists() for row in range(2)] == [True, True]
    assert images_of_pattern("photos/**/*.jpg").names.read(0, 9)[1] == "photos/a/deep/4.jpg"
    some = images_of_pattern("photos/a/*")
    assert some.names.read(0, 9) == ["a/3.jpg"]
    assert some.notes == ("1 other file matching photos/a/* is not read: 1 .txt",)
    with pytest.raises(InputError, match=r"nothing matches photos/\*\.bmp"):
        images_of_pattern("photos/*.bmp")


def test_a_list(folder: Path) -> None:
    make(folder, "b.jpg", "a.jpg", "c")
    (folder / "list.txt").write_bytes(b"\xef\xbb\xbfb.jpg\r\n\r\na.jpg\nb.jpg\nc")
    files = images_in_list(folder / "list.txt", False)
    assert files.names.read(0, 9) == ["b.jpg", "a.jpg", "b.jpg", "c"]
    assert files.path(1).samefile(folder / "a.jpg")
    (folder / "list.txt").write_text(f"{(folder / 'a.jpg').absolute()}\nnope.jpg\n")
    with pytest.raises(InputError, match=r"lists 'nope\.jpg' in line 2, and there is no such file"):
        images_in_list(folder / "list.txt", False)
    assert images_in_list(folder / "list.txt", True).path(0).samefile(folder / "a.jpg")
    (folder / "list.txt").write_text("\n")
    with pytest.raises(InputError, match=r"list\.txt lists no images"):
        images_in_list(folder / "list.txt", False)


def test_one_file(folder: Path) -> None:
    make(folder, "a.jpg")
    assert image_file(folder / "a.jpg").names.read(0, 1) == ["photos/a.jpg"]


def test_images_are_left_out_with_their_classes(folder: Path) -> None:
    files = images_in_folder(make(folder, "a/1.jpg", "b/1.jpg", "b/2.jpg")).without({1: "it is empty"})
    assert files.names.read(0, 9) == ["photos/a/1.jpg", "photos/b/2.jpg"]
    assert files.labels is not None
    assert files.labels.values.tolist() == [0, 1]
    assert files.skipped == (("photos/b/1.jpg", "it is empty"),)
