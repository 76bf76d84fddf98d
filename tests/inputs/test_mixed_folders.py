"""Folders that hold files of several kinds: which of them are meant is never guessed."""

import wave
from pathlib import Path

import pytest

from tfdump.errors import InputError
from tfdump.inputs.data_options import DataLibraries, DataOptions
from tfdump.inputs.other_kinds import open_other


def folder_of(path: Path, *names: str) -> Path:
    for name in names:
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(b"x")
    return path


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (("a.jpg", "b.wav"), "images and sound"),
        (("cat/a.jpg", "cat/b.tfrecord"), "images and TFRecord files"),
        (("a.wav", "b.tfrecord"), "TFRecord files and sound"),
        (("a.png", "b.flac", "c.tfrecord.gz"), "images and TFRecord files and sound"),
    ],
)
def test_a_folder_of_several_kinds_is_refused(names: tuple[str, ...], told: str, tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "mixed", *names)
    options = DataOptions(libraries=DataLibraries(image_decoder=lambda: None))  # type: ignore[arg-type, return-value]  # not called
    with pytest.raises(InputError, match=f"mixed holds {told} \\(choose the files of one kind by a pattern"):
        open_other(None, folder, None, True, options)


def test_files_of_no_kind_beside_others_do_no_harm(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "talks", "notes.txt", "table.csv")
    with wave.open(str(folder / "a.wav"), "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes(bytes(200))
    (array,) = open_other(None, folder, None, True, DataOptions())
    assert array.reader.shape[:2] == (1, 100)
