"""Sound files as the arrays of a model."""

from pathlib import Path

import numpy as np
import pytest

from support.sound_files import sound, write_wave
from tfdump.errors import InputError
from tfdump.inputs.arguments import open_arguments
from tfdump.inputs.data_options import DataOptions
from tfdump.inputs.matching import match
from tfdump.inputs.source import ReadingOptions, Source
from tfdump.tensors import InputSpec

MONO, OPEN, CHANNELS = (None, 100), (None, None), (None, None, None)


def source(
    path: Path | str, shape: tuple[int | None, ...] | None, reading: ReadingOptions | None = None, **options: object
) -> Source:
    specs = [InputSpec("wave", shape, "float32")]
    arrays = open_arguments([str(path)], options=DataOptions(**options))  # type: ignore[arg-type]  # one of its options
    return Source(specs, match(arrays, specs), reading or ReadingOptions(), NOTES.append)


NOTES: list[str] = []


def values(samples: int, channels: int = 1, seed: int = 0) -> np.ndarray:
    return (sound(samples, channels, seed) / 32768).astype(np.float32)


def test_one_file_is_one_example(tmp_path: Path) -> None:
    mono = source(write_wave(tmp_path / "a.wav", sound(100)), MONO)
    np.testing.assert_array_equal(mono.read(0, 1)["wave"], values(100)[None, :, 0])
    assert mono.example_id(0) == "a.wav"
    for shape in (CHANNELS, (None, 100, 2), None):
        stereo = source(write_wave(tmp_path / "b.wav", sound(100, 2)), shape)
        np.testing.assert_array_equal(stereo.read(0, 1)["wave"], values(100, 2)[None])
    assert source(tmp_path / "a.wav", None).read(0, 1)["wave"].shape == (1, 100)
    assert source(tmp_path / "a.wav", (None, 100, 1)).read(0, 1)["wave"].shape == (1, 100, 1)


def test_files_of_a_folder_are_padded_like_ragged_inputs(tmp_path: Path) -> None:
    for place, name in enumerate(["b.wav", "a.wav", "c/a.WAV"]):
        write_wave(tmp_path / "talk" / name, sound(40 + 10 * place, seed=place))
    read = source(tmp_path / "talk", MONO)
    rows = read.read(0, 3)["wave"]
    for row, place in enumerate((1, 0, 2)):
        length = 40 + 10 * place
        np.testing.assert_array_equal(rows[row, :length], values(length, seed=place)[:, 0])
        assert not rows[row, length:].any()
    assert [read.example_id(row) for row in range(3)] == ["talk/a.wav", "talk/b.wav", "talk/c/a.WAV"]
    assert read.lengths["wave"].tolist() == [50, 40, 60]
    assert source(tmp_path / "talk", OPEN).read(0, 1)["wave"].shape == (1, 60)
    assert source(tmp_path / "talk", OPEN, ReadingOptions(pad_to=70)).read(0, 1)["wave"].shape == (1, 70)
    pattern = source(f"{tmp_path}/talk/*.wav", OPEN)
    assert [pattern.example_id(row) for row in range(2)] == ["a.wav", "b.wav"]


@pytest.mark.tensorflow
def test_class_folders_are_those_of_keras(tmp_path: Path) -> None:
    import keras

    for place in range(6):
        write_wave(tmp_path / f"words/{('no', 'stop', 'yes')[place % 3]}/{place}.wav", sound(100, seed=place))
    batches = keras.utils.audio_dataset_from_directory(
        tmp_path / "words", output_sequence_length=100, shuffle=False, batch_size=6, verbose=False
    )
    (sounds, labels) = next(iter(batches))
    read = source(tmp_path / "words", (None, 100, 1))
    np.testing.assert_array_equal(read.read(0, 6)["wave"], sounds)
    assert read.identity is not None
    assert read.identity.labels is not None
    assert read.identity.labels.values.tolist() == labels.numpy().tolist()
    assert read.identity.labels.classes == tuple(batches.class_names)
    (target,) = open_arguments([str(tmp_path / "words")], options=DataOptions(window=50 / 8000))[0].targets()
    assert target.reader.read(0, 12).tolist() == np.repeat(labels, 2).tolist()


def test_pieces_with_a_hop(tmp_path: Path) -> None:
    write_wave(tmp_path / "talk/a.wav", sound(1000, 2), 100)
    write_wave(tmp_path / "talk/b.wav", sound(90, 2, 1), 100)
    write_wave(tmp_path / "talk/c.wav", sound(330, 2, 2), 100)
    read = source(tmp_path / "talk", CHANNELS, window=2.5, hop=0.5)
    assert read.examples == 16 + 2
    expected = [values(1000, 2)[start : start + 250] for start in range(0, 751, 50)]
    expected += [values(330, 2, 2)[start : start + 250] for start in (0, 50)]
    np.testing.assert_array_equal(read.read(0, 18)["wave"], np.stack(expected))
    np.testing.assert_array_equal(read.read(14, 17)["wave"], np.stack(expected[14:17]))
    assert [read.example_id(row) for row in (0, 1, 15, 16, 17)] == [
        *("talk/a.wav:0s", "talk/a.wav:0.5s", "talk/a.wav:7.5s", "talk/c.wav:0s", "talk/c.wav:0.5s"),
    ]
    assert read.settings == {"wave": {"sample_rate": 100, "channels": 2, "window": 250, "hop": 50}}
    far = source(tmp_path / "talk/a.wav", CHANNELS, window=1.0, hop=4.0)
    np.testing.assert_array_equal(
        far.read(0, 3)["wave"], np.stack([values(1000, 2)[s : s + 100] for s in (0, 400, 800)])
    )


def refused(path: Path | str, shape: tuple[int | None, ...] | None, **options: object) -> str:
    with pytest.raises(InputError) as caught:
        source(path, shape, **options)  # type: ignore[arg-type]  # one of the options
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_does_not_fit(tmp_path: Path) -> None:
    mono = write_wave(tmp_path / "d/a.wav", sound(200))
    stereo = write_wave(tmp_path / "stereo.wav", sound(200, 2))
    assert "has 8000 samples per second, and --sample-rate is 16000" in refused(mono, OPEN, sample_rate=16000)
    assert "has 2 channels, and the input 'wave' takes 1" in refused(stereo, OPEN)
    assert "has 1 channel, and the input 'wave' takes 2" in refused(mono, (None, None, 2))
    assert "takes no sound: its shape is (?, 2, 2, 2)" in refused(mono, (None, 2, 2, 2))
    assert "has 200 samples, and the model takes 100 (cut it into pieces: --window 0.0125)" in refused(mono, MONO)
    assert source(mono, MONO, window=0.0125).examples == 2
    assert "--window 0.02 is 160 samples" in refused(mono, MONO, window=0.02)
    assert "(give --window 0.0125)" in refused(mono, MONO, window=0.02)
    assert "no sound of 1 seconds (the longest has 0.025" in refused(mono, OPEN, window=1.0)
    assert "is shorter than one sample" in refused(mono, OPEN, window=1e-6)
    assert "has no 'x' inside" in refused(f"{mono}::x", OPEN)
    write_wave(tmp_path / "d/b.wav", sound(200), 16000)
    assert f"b.wav has 16000 samples per second, and {mono} has 8000" in refused(tmp_path / "d", OPEN)


def test_damaged_files_are_left_out_if_asked_to(tmp_path: Path) -> None:
    write_wave(tmp_path / "d/no/a.wav", sound(100))
    (tmp_path / "d/no/b.wav").write_bytes(b"RIFF")
    write_wave(tmp_path / "d/yes/c.wav", sound(100, seed=1))
    assert "d/no/b.wav: it is no .wav file (--skip-damaged" in refused(tmp_path / "d", MONO)
    read = source(tmp_path / "d", MONO, skip_damaged=True)
    np.testing.assert_array_equal(read.read(1, 2)["wave"], values(100, seed=1)[None, :, 0])
    assert read.skipped == [("d/no/b.wav", "it is no .wav file")]
    assert NOTES[-1].startswith("a damaged sound file in")
    assert read.identity is not None
    assert read.identity.labels is not None
    assert read.identity.labels.values.tolist() == [0, 1]
    (tmp_path / "d/yes/c.wav").write_bytes(b"RIFF")
    (tmp_path / "d/no/a.wav").unlink()
    assert "no sound in" in refused(tmp_path / "d", MONO, skip_damaged=True)
