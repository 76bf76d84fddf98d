"""The note about the range of images: for every application that needs one, and for no other model."""

from collections.abc import Callable
from functools import cache
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

import tfdump
from support.combinations import combinations
from tfdump.inputs.readers import ArrayReader
from tfdump.inputs.source import ReadingOptions, Source
from tfdump.model.applications.preprocessing import preprocessed_by_keras
from tfdump.model.applications.ranges import range_notes
from tfdump.model.keras_signature import signature_of

SIZE = 96
PIXELS = np.random.default_rng(0).integers(0, 256, (3, SIZE, SIZE, 3)).astype("float32")
PIXELS[:, 0, 0] = 0, 100, 255


def notes(model: keras.Model, x: np.ndarray = PIXELS, **settings: Any) -> list[str]:
    specs = signature_of(model, []).specs
    source = Source(specs, {specs[0].name: ArrayReader(x, "x.npy")}, ReadingOptions(), lambda text: None)
    return range_notes(model, source)


def application(name: str) -> keras.Model:
    return getattr(keras.applications, name)(weights=None, input_shape=(SIZE, SIZE, 3), include_top=False)


WANTED = {
    "MobileNet": "mobilenet",
    "MobileNetV2": "mobilenet_v2",
    "InceptionV3": "inception_v3",
    "InceptionResNetV2": "inception_resnet_v2",
    "Xception": "xception",
    "NASNetMobile": "nasnet",
    "ResNet50V2": "resnet_v2",
    "ResNet50": "resnet50",
    "VGG16": "vgg16",
    "VGG19": "vgg19",
    "DenseNet121": "densenet",
}


LARGE = ("InceptionResNetV2", "NASNetMobile", "EfficientNetV2S")
"""What takes seconds to build."""


@pytest.mark.parametrize("name", combinations(WANTED, tested=lambda name: name not in LARGE))
def test_an_application_that_wants_other_values(name: str) -> None:
    """The advice has the values that Keras itself makes of pixels, whatever range they come in."""
    model = application(name)
    right = np.asarray(getattr(keras.applications, WANTED[name]).preprocess_input(PIXELS.copy()))
    assert notes(model, right) == []
    (note,) = notes(model)
    assert f"add --preprocess '{WANTED[name]}', unless" in note
    assert "has values from 0 to 255, and the" in note
    (note,) = notes(model, PIXELS / 255)
    assert f"--preprocess 'scale=255;{WANTED[name]}'" in note
    assert bool(notes(model, PIXELS / 127.5 - 1)) == (name.startswith("VGG") or name == "ResNet50")


@pytest.mark.parametrize(
    "name",
    combinations(
        ["EfficientNetB0", "EfficientNetV2B0", "EfficientNetV2S", "MobileNetV3Small", "ConvNeXtTiny"],
        tested=lambda name: name not in LARGE,
    ),
)
def test_an_application_that_rescales_inside(name: str) -> None:
    model = application(name)
    assert notes(model) == []
    (note,) = notes(model, PIXELS / 255)
    assert "has values from 0 to 1, and the model begins with a layer that rescales pixels from 0 to 255" in note
    assert note.endswith("(add --preprocess 'scale=255')")
    (note,) = notes(model, PIXELS / 127.5 - 1)
    assert note.endswith("(add --preprocess 'mean=-1;scale=127.5')")


@cache
def small() -> keras.Model:
    return keras.applications.MobileNetV2(
        weights=None, input_shape=(SIZE, SIZE, 3), alpha=0.35, include_top=False, pooling="avg"
    )


def behind(*before: layers.Layer) -> Callable[[], keras.Model]:
    return lambda: keras.Sequential([keras.Input((SIZE, SIZE, 3)), *before, small(), layers.Dense(2)])


def prepared() -> keras.Model:
    x = keras.Input((SIZE, SIZE, 3))
    return keras.Model(x, small()(keras.applications.mobilenet_v2.preprocess_input(x)))


def cut() -> keras.Model:
    base = small()
    return keras.Model(base.input, layers.Dense(3)(base.get_layer("block_6_expand_relu").output), name="mine")


def own(*more: Any) -> keras.Model:
    """A model that has nothing of keras.applications but the name."""
    return keras.Sequential(
        [keras.Input((SIZE, SIZE, 3)), *more, layers.Conv2D(2, 3, name="conv1"), layers.Flatten()], name="resnet50"
    )


@pytest.mark.parametrize(
    ("model", "x", "expected"),
    [
        (behind(), PIXELS, 1),
        (behind(layers.RandomFlip(), layers.Dropout(0.1)), PIXELS, 1),
        (cut, PIXELS, 1),
        (behind(layers.Rescaling(1 / 127.5, -1)), PIXELS, 0),
        (behind(layers.Rescaling(1 / 127.5, -1)), PIXELS / 255, 1),
        (prepared, PIXELS, 0),
        (own, PIXELS, 0),
        (own, PIXELS / 255, 0),
        (lambda: own(layers.Rescaling(2.0)), PIXELS / 255, 0),
        (lambda: own(layers.Rescaling(1 / 255)), PIXELS, 0),
        (lambda: own(layers.Rescaling(1 / 255)), PIXELS / 255, 1),
        (behind(), np.zeros_like(PIXELS), 0),
        (behind(), np.full_like(PIXELS, np.nan), 0),
    ],
)
def test_a_model_with_an_application_inside(model: Callable[[], keras.Model], x: np.ndarray, expected: int) -> None:
    assert len(notes(model(), x)) == expected


def test_the_advice_gives_the_values_of_keras() -> None:
    """The note of a run in Python is about its arguments, and its advice gives the right values."""
    model = small()
    with pytest.warns(tfdump.TfdumpWarning, match="was trained on values from -1 to 1") as caught:
        tfdump.activations(model, PIXELS / 255, layers="Conv1")
    assert "(add preprocess='scale=255;mobilenet_v2', unless" in str(caught[0].message)
    right = np.asarray(model.get_layer("Conv1")(preprocessed_by_keras("mobilenet_v2", PIXELS.copy())))
    acts = tfdump.activations(model, PIXELS / 255, layers="Conv1", preprocess="scale=255;mobilenet_v2")
    np.testing.assert_allclose(acts["Conv1"], right, atol=1e-4)
