"""Images as the inputs of commands."""

import json
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest

import tfdump as api
from support.command import SAMPLES, Ended, Run
from support.image_folders import class_folders, drawn, from_directory, save
from support.saved_formats import lite

pytestmark = pytest.mark.tensorflow

SIZE = (32, 48)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with images in classes, and models with random weights."""
    folder = tmp_path_factory.mktemp("images")
    class_folders(folder / "photos")
    (folder / "photos/readme.txt").write_text("hello")
    network(3, SIZE).save(folder / "m.keras")
    network(1, (None, None)).save(folder / "open.keras")
    lite(network(3, SIZE), folder / "m.tflite")
    return folder


def network(channels: int, size: tuple[int | None, int | None]) -> keras.Model:
    """A small convolutional network whose weights and statistics are random."""
    x = keras.Input((*size, channels), name="image")
    y = keras.layers.BatchNormalization(name="bn")(keras.layers.Conv2D(4, 3, name="conv")(x))
    y = keras.layers.GlobalAveragePooling2D(name="pool")(y)
    model = keras.Model(x, keras.layers.Dense(3, activation="softmax", name="out")(y))
    random = np.random.default_rng(0)
    model.set_weights([np.abs(random.normal(0.2, 0.1, w.shape)).astype(np.float32) for w in model.get_weights()])
    model.compile(loss="sparse_categorical_crossentropy")
    return model


def refused(done: Ended, *words: str) -> None:
    assert done.returncode == 2, done.stderr
    errors = [line for line in done.stderr.splitlines() if not line.startswith("Note: ")]
    assert len(errors) == 1, done.stderr
    assert errors[0].startswith("Error: ")
    for word in words:
        assert word in errors[0], errors[0]


def test_a_folder_of_images(saved: Path, tfdump: Run, tmp_path: Path) -> None:
    done = tfdump(
        "activations", saved / "m.keras", saved / "photos", "--save-inputs", "--batch-size", "4", "-o", "d.h5"
    )
    assert done.returncode == 0, done.stderr
    assert "Note: 1 other file in" in done.stderr
    pixels, paths = from_directory(saved / "photos", SIZE)
    with api.open(tmp_path / "d.h5") as dump:
        assert dump.examples is not None
        assert dump.examples.read(0, 99) == [f"photos/{path}" for path in paths]
        assert dump.examples.classes == ("cat", "cat-big", "dog")
        np.testing.assert_array_equal(dump["inputs/image"][:], pixels)
    expected = keras.models.load_model(saved / "m.keras").predict(pixels, verbose=0)
    with h5py.File(tmp_path / "d.h5") as file:
        np.testing.assert_allclose(file["outputs/out"][()], expected, rtol=1e-5)
        assert file["examples/label"][()].tolist() == [0, 0, 0, 1, 1, 2, 2, 2, 2, 2, 2]
        settings = json.loads(file.attrs["input_settings"])["image"]
    assert settings.pop("decoder").startswith("tensorflow 2.")
    assert settings == {
        "image_size": [32, 48],
        "color_mode": "rgb",
        "resize": "stretch",
        "interpolation": "bilinear",
        "exif": False,
    }


def test_class_folders_are_targets(saved: Path, tfdump: Run, tmp_path: Path) -> None:
    pixels, _ = from_directory(saved / "photos", SIZE)
    np.save(tmp_path / "x.npy", pixels)
    np.save(tmp_path / "y.npy", np.array([0, 0, 0, 1, 1, 2, 2, 2, 2, 2, 2]))
    forms = {
        "arrays": ("x.npy", "y.npy"),
        "folder": (saved / "photos",),
        "option": ("x.npy", "--targets", saved / "photos"),
    }
    for name, words in forms.items():
        done = tfdump("gradients", saved / "m.keras", *words, "-o", f"{name}.h5")
        assert done.returncode == 0, done.stderr
    with h5py.File(tmp_path / "arrays.h5") as arrays:
        gradient = arrays["gradients/weights/conv.kernel"][()]
        assert np.abs(gradient).max() > 0
        for name in ("folder", "option"):
            with h5py.File(tmp_path / f"{name}.h5") as file:
                np.testing.assert_array_equal(file["gradients/weights/conv.kernel"][()], gradient)


def test_other_ways_to_name_images(saved: Path, tfdump: Run, tmp_path: Path) -> None:
    class_folders(tmp_path / "photos")
    (tmp_path / "list.txt").write_text("photos/dog/big.jpg\nphotos/cat/2.jpg\n")
    ways = {
        "photos/cat/*.jpg": ["cat/10.jpg", "cat/2.jpg"],
        "@list.txt": ["photos/dog/big.jpg", "photos/cat/2.jpg"],
        "image=photos/cat/2.jpg": ["cat/2.jpg"],
    }
    for argument, names in ways.items():
        done = tfdump("activations", saved / "m.keras", argument, "-f", "-o", "d.h5")
        assert done.returncode == 0, done.stderr
        with api.open(tmp_path / "d.h5") as dump:
            assert dump.examples is not None
            assert dump.examples.read(0, 9) == names


def test_some_examples_and_a_resumed_run(saved: Path, tfdump: Run, tmp_path: Path) -> None:
    words = "activations", saved / "m.keras", saved / "photos", "-l", "out"
    assert tfdump(*words, "--batch-size", 2, "-o", "all.h5").returncode == 0
    assert tfdump(*words, "--batch-size", 2, "--examples", "4:9", "-o", "some.h5").returncode == 0
    assert tfdump(*words, "--batch-size", 2, "--resume", "-o", "resumed.h5").returncode == 0
    with api.open(tmp_path / "all.h5") as whole, api.open(tmp_path / "some.h5") as some:
        np.testing.assert_allclose(some["out"][:], whole["out"][4:9], rtol=1e-6)
        assert some.examples is not None
        assert whole.examples is not None
        assert some.examples.read(0, 9) == whole.examples.read(4, 9)
    with api.open(tmp_path / "all.h5") as whole, api.open(tmp_path / "resumed.h5") as resumed:
        np.testing.assert_array_equal(whole["out"][:], resumed["out"][:])


def test_the_same_images_give_the_same_bytes(saved: Path, tfdump: Run, tmp_path: Path) -> None:
    for _ in range(2):
        done = tfdump("activations", saved / "m.keras", saved / "photos", "-f", "-o", "d.h5")
        assert done.returncode == 0
        data = (tmp_path / "d.h5").read_bytes()
        (tmp_path / "first.h5").exists() or (tmp_path / "first.h5").write_bytes(data)
    assert (tmp_path / "first.h5").read_bytes() == data


def test_every_command_reads_images(saved: Path, tfdump: Run, tmp_path: Path) -> None:
    assert tfdump("layers", saved / "m.keras", saved / "photos").returncode == 0
    assert tfdump("layers", saved / "open.keras", saved / "photos", "--image-size", "40,30").returncode == 0
    done = tfdump("activations", saved / "m.keras", saved / "photos", "--dry-run")
    assert "(?, 30, 46, 4)" in done.stdout
    done = tfdump("compare", saved / "m.keras", saved / "m.tflite", saved / "photos")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr.count("other file in") == 1
    done = tfdump("activations", saved / "open.keras", saved / "photos", "--image-size", "40x30", "-o", "open.h5")
    assert done.returncode == 0, done.stderr
    found = api.activations(saved / "m.keras", saved / "photos", layers="out")
    assert found["out"].shape == (11, 3)


def test_damaged_images(saved: Path, tfdump: Run, tmp_path: Path) -> None:
    for number in range(6):
        save(tmp_path / f"photos/{number}.jpg", drawn(40, 40, number))
    path = tmp_path / "photos/3.jpg"
    path.write_bytes(path.read_bytes()[:400])
    words = "activations", saved / "m.keras", "photos", "--batch-size", "2", "-o", "d.h5"
    refused(tfdump(*words), "Error: photos/3.jpg cannot be decoded: ", "(--skip-damaged leaves such images out)")
    assert not (tmp_path / "d.h5").exists()
    done = tfdump(*words, "--skip-damaged")
    assert done.returncode == 0, done.stderr
    assert "Note: a damaged image in photos is left out: photos/3.jpg (" in done.stderr
    with api.open(tmp_path / "d.h5") as dump:
        assert dump.examples is not None
        assert dump.examples.read(0, 9) == [f"photos/{number}.jpg" for number in (0, 1, 2, 4, 5)]
    with h5py.File(tmp_path / "d.h5") as file:
        assert [item["example"] for item in json.loads(file.attrs["skipped"])] == ["photos/3.jpg"]


def test_bad_images_are_one_line(saved: Path, tfdump: Run, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts/a.txt").write_text("a")
    (tmp_path / "list.txt").write_text("photos/nope.jpg\n")
    model = saved / "m.keras"
    refused(tfdump("activations", model, "empty"), "empty is a folder without files")
    refused(tfdump("activations", model, "texts"), "texts has no images among 1 other file: 1 .txt")
    refused(tfdump("activations", model, "nope/*.jpg"), "nothing matches nope/*.jpg")
    refused(tfdump("activations", model, "nope.jpg"), "no such input file: nope.jpg")
    refused(tfdump("activations", model, "@nope.txt"), "no such list of files: nope.txt")
    refused(tfdump("activations", model, "@list.txt"), "list.txt lists 'photos/nope.jpg' in line 1")
    refused(
        tfdump("activations", saved / "open.keras", saved / "photos"), "declares no height and width", "--image-size"
    )
    refused(tfdump("activations", SAMPLES / "wine_mlp.keras", saved / "photos"), "takes no images")
    refused(tfdump("activations", model, f"{saved}/photos/cat/2.jpg::a"), "no 'a' inside")
    refused(
        tfdump("activations", model, saved / "photos/cat/2.jpg", saved / "photos/cat/10.jpg"),
        "the model has no input for ",
        "quote the pattern",
    )
