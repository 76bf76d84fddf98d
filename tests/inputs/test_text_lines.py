"""Text files as inputs: one string per line."""

import re
from pathlib import Path

import pytest

from tfdump.errors import InputError
from tfdump.files.limits import allowed
from tfdump.inputs import text_lines
from tfdump.inputs.arguments import open_arguments
from tfdump.inputs.identity import NamedReader
from tfdump.inputs.readers import Reader


def opened(path: Path) -> Reader:
    (array,) = open_arguments([str(path)])
    return array.reader


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize("last", ["", "\n"])
@pytest.mark.parametrize("piece", [5, 1000, 4 << 20])
def test_any_range_of_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str, last: str, piece: int
) -> None:
    monkeypatch.setattr(text_lines, "_PIECE", piece)
    lines = [f"{'é' * (n % 7)} {n}" if n % 5 != 3 else "" for n in range(1001)]
    path = tmp_path / "reviews.txt"
    path.write_bytes((ending.join(lines) + last).encode())
    reader = opened(path)
    assert reader.shape == (1001,)
    assert isinstance(reader, NamedReader)
    for start, stop in ((0, 1001), (0, 1), (255, 257), (256, 512), (1000, 1001), (700, 700), (511, 1001)):
        assert reader.read(start, stop).tolist() == lines[start:stop]
        assert reader.names.read(start, stop) == [f"reviews.txt:{n + 1}" for n in range(start, stop)]


def test_only_line_feeds_end_lines(tmp_path: Path) -> None:
    path = tmp_path / "reviews.txt"
    path.write_bytes("\ufeffa\u2028b\x0bc\rd\n\n\n".encode())
    assert opened(path).read(0, 3).tolist() == ["a\u2028b\x0bc\rd", "", ""]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"a\nb\xe9\nc\n", ": line 2 is not UTF-8 (byte 0xe9; save the file as UTF-8)"),
        (b"a\n\n\xff", ": line 3 is not UTF-8 (byte 0xff; save the file as UTF-8)"),
        ("a\nb".encode("utf-16"), " is UTF-16 text (save it as UTF-8)"),
        (b"", " is empty (write one example per line)"),
        (b"\xef\xbb\xbf", " is empty (write one example per line)"),
    ],
)
@pytest.mark.parametrize("piece", [1, 4 << 20])
def test_what_is_wrong_with_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: bytes, message: str, piece: int
) -> None:
    monkeypatch.setattr(text_lines, "_PIECE", piece)
    path = tmp_path / "reviews.txt"
    path.write_bytes(data)
    with pytest.raises(InputError, match="^" + re.escape(f"{path}{message}") + "$"):
        opened(path)


def test_a_line_is_no_larger_than_allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_lines, "_PIECE", 1000)
    path = tmp_path / "reviews.txt"
    path.write_bytes(b"a" * 5000)
    with allowed(4000), pytest.raises(InputError, match=r"one line takes more than .* allowed"):
        opened(path)


def test_a_file_that_changes_is_told(tmp_path: Path) -> None:
    path = tmp_path / "reviews.txt"
    path.write_text("a\nb\nc\n")
    reader = opened(path)
    path.write_text("a")
    with pytest.raises(InputError, match="has changed since its lines were counted"):
        reader.read(0, 3)
