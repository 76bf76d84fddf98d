"""The samples of sound files, against `tf.audio.decode_wav` and soundfile."""

import sys
from pathlib import Path

import numpy as np
import pytest

from support.sound_files import sound, write_wave
from tfdump.errors import InputError
from tfdump.inputs.sound.library_file import LibraryFile
from tfdump.inputs.sound.open_sound import open_sound
from tfdump.inputs.sound.samples import SoundError, SoundFacts
from tfdump.inputs.sound.wave_file import WaveFile

soundfile = pytest.importorskip("soundfile")


@pytest.mark.tensorflow
@pytest.mark.parametrize("channels", [1, 2, 5])
def test_samples_are_those_of_decode_wav(tmp_path: Path, channels: int) -> None:
    import tensorflow as tf

    path = write_wave(tmp_path / "a.wav", sound(1000, channels))
    expected, rate = tf.audio.decode_wav(path.read_bytes())
    samples = open_sound(path)
    assert samples.facts == SoundFacts(int(rate), 1000, channels)
    np.testing.assert_array_equal(samples.read(0, 1000), expected.numpy())
    np.testing.assert_array_equal(samples.read(17, 90), expected.numpy()[17:90])
    assert samples.read(0, 1).dtype == np.float32


@pytest.mark.parametrize("form", ["WAV", "WAVEX"])
@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
def test_every_depth_is_read_as_soundfile_reads_it(tmp_path: Path, subtype: str, form: str) -> None:
    path = tmp_path / "a.wav"
    values = np.random.default_rng(0).uniform(-1, 1, (500, 2))
    values[:2] = [[-1, 1], [0, 1e-5]]
    soundfile.write(path, values, 22050, subtype=subtype, format=form)
    expected, _ = soundfile.read(path, dtype="float32", always_2d=True)
    samples = open_sound(path)
    assert isinstance(samples, WaveFile)
    assert samples.facts == SoundFacts(22050, 500, 2)
    np.testing.assert_array_equal(samples.read(0, 500), expected)
    np.testing.assert_array_equal(samples.read(100, 203), expected[100:203])


@pytest.mark.parametrize(("name", "subtype"), [("a.flac", "PCM_16"), ("a.flac", "PCM_24"), ("a.wav", "ULAW")])
def test_other_encodings_are_read_by_soundfile(tmp_path: Path, name: str, subtype: str) -> None:
    path = tmp_path / name
    soundfile.write(path, sound(3000, 2), 44100, subtype=subtype)
    expected, _ = soundfile.read(path, dtype="float32", always_2d=True)
    samples = open_sound(path)
    assert isinstance(samples, LibraryFile)
    assert samples.facts == SoundFacts(44100, 3000, 2)
    np.testing.assert_array_equal(samples.read(0, 3000), expected)
    np.testing.assert_array_equal(samples.read(2000, 2010), expected[2000:2010])


def test_flac_of_16_bits_is_what_was_written(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.flac", sound(100), 8000, subtype="PCM_16")
    expected = (sound(100) / 32768).astype(np.float32)
    np.testing.assert_array_equal(open_sound(tmp_path / "a.flac").read(0, 100), expected)


def test_without_soundfile_the_message_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    soundfile.write(tmp_path / "a.flac", sound(100), 8000)
    monkeypatch.setitem(sys.modules, "soundfile", None)
    with pytest.raises(InputError, match=r"a\.flac needs the package soundfile: pip install 'tfdump\[sound\]'"):
        open_sound(tmp_path / "a.flac")
    assert open_sound(write_wave(tmp_path / "a.wav", sound(10))).facts.samples == 10


def test_a_stream_of_unknown_length_is_read_to_its_end(tmp_path: Path) -> None:
    path = write_wave(tmp_path / "a.wav", sound(50))
    data = bytearray(path.read_bytes())
    data[40:44] = b"\xff" * 4
    path.write_bytes(data)
    np.testing.assert_array_equal(open_sound(path).read(0, 50), (sound(50) / 32768).astype(np.float32))


@pytest.mark.parametrize(
    ("name", "change", "reason"),
    [
        ("a.wav", lambda data: data[:-7], "it is truncated: its header declares 100 bytes of sound, and 93 are there"),
        ("a.wav", lambda data: data[:40], "it has no samples"),
        ("a.wav", lambda data: b"", "it is empty"),
        ("a.wav", lambda data: b"ID3" + data, "it is no .wav file"),
        ("a.wav", lambda data: data[:22] + b"\0\0" + data[24:], "its header is damaged"),
        ("a.wav", lambda data: data[:16] + b"\x04\0\0\0" + data[20:], "it has no samples"),
        ("a.flac", lambda data: data, "unknown format|not recogni[sz]ed|unimplemented|supported|format"),
    ],
)
def test_damaged_files(tmp_path: Path, name: str, change: object, reason: str) -> None:
    assert callable(change)
    data = write_wave(tmp_path / "a.wav", sound(50)).read_bytes()
    path = tmp_path / name
    path.write_bytes(change(data) if name == "a.wav" else b"fLaC" + bytes(100))
    with pytest.raises(SoundError, match=f"(?i){reason}"):
        open_sound(path)


def test_damaged_headers_never_crash(tmp_path: Path) -> None:
    data, random = write_wave(tmp_path / "a.wav", sound(50)).read_bytes(), np.random.default_rng(0)
    path = tmp_path / "b.wav"
    refused = 0
    for _ in range(500):
        changed = bytearray(data)
        for _ in range(3):
            changed[random.integers(44)] = random.integers(256)
        path.write_bytes(changed)
        try:
            samples = open_sound(path)
            samples.read(0, samples.facts.samples)
        except SoundError:
            refused += 1
    assert 100 < refused < 500
