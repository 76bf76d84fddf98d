"""Trains the sample models and writes them, with held-out inputs and labels, beside this file.

    python sample_models/make.py

Needs scikit-learn (`pip install .[samples]`); all data ships with scikit-learn or with Python.
"""

from collections import Counter
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from sys import maxunicode
from unicodedata import ucd_3_2_0

import keras
import numpy as np
from draw import SHAPES, draw
from sklearn.datasets import load_digits, load_wine
from sklearn.model_selection import train_test_split
from twice import Twice

FOLDER = Path(__file__).parent
SEED = 20
HELD_OUT = 300  # examples; of the 178 wines, a third

# The vocabulary's first two words; Embedding masks id 0.
PADDING, UNKNOWN = "[PAD]", "[UNK]"
RAREST_WORD = 4
# CJK ideographs and these syllables are named by rule and would swamp the other names.
NAMED_BY_RULE = ("CJK ", "HANGUL SYLLABLE ", "YI SYLLABLE ")
# Unicode's general categories, grouped: class i is the i-th group.
CATEGORIES = (("Lu",), ("Ll",), ("Lo", "Lm", "Lt"), ("Mn", "Mc", "Me"), ("Nd", "Nl", "No"),
              ("Pc", "Pd", "Ps", "Pe", "Pi", "Pf", "Po"), ("Sm", "Sc", "Sk", "So"))  # fmt: skip


@dataclass(frozen=True)
class Data:
    """Inputs as an array or as {input name: array}, and labels int64 (N,), for training and held out."""

    train_inputs: np.ndarray | dict[str, np.ndarray]
    train_labels: np.ndarray
    inputs: np.ndarray | dict[str, np.ndarray]
    labels: np.ndarray


def split(inputs, labels, held_out):
    """Data with `held_out` examples set aside, the classes in proportion."""
    train_inputs, inputs, train_labels, labels = train_test_split(
        inputs, labels, test_size=held_out, stratify=labels, random_state=SEED
    )
    return Data(train_inputs, train_labels, inputs, labels)


def digits():
    """Images of handwritten digits, float32 (N, 8, 8, 1) from 0 to 1; labels 0 to 9."""
    bunch = load_digits()
    images = (bunch.images[..., None] / 16).astype("float32")
    return split(images, bunch.target.astype("int64"), HELD_OUT)


def wine():
    """Chemical analyses of wines, float32 (N, 13) in their own units; labels 0 to 2, the cultivar."""
    bunch = load_wine()
    return split(bunch.data.astype("float32"), bunch.target.astype("int64"), len(bunch.target) // 3)


def draw_pairs(images, labels, count, random):
    """Pairs of different images, and int64 labels (count,): 1 (every other one) for the same digit."""
    same = np.arange(count) % 2
    left = random.integers(len(labels), size=count)
    right = np.empty_like(left)
    for pair, (index, wanted) in enumerate(zip(left, same, strict=True)):
        candidates = np.flatnonzero((labels == labels[index]) == wanted)
        right[pair] = random.choice(candidates[candidates != index])
    return {"left": images[left], "right": images[right]}, same


def digit_pairs(data):
    """Pairs of the digits in `data`; held-out pairs are made of held-out digits only."""
    random = np.random.default_rng(SEED)
    return Data(
        *draw_pairs(data.train_inputs, data.train_labels, 12000, random),
        *draw_pairs(data.inputs, data.labels, HELD_OUT, random),
    )


def character_names():
    """Names of Unicode 3.2 characters as lists of words, and the class of each, int64 (N,).

    Version 3.2, which Python keeps beside its current one, gives the same names on every Python.
    """
    class_of = {category: index for index, group in enumerate(CATEGORIES) for category in group}
    sentences, labels = [], []
    for character in map(chr, range(maxunicode + 1)):
        name = ucd_3_2_0.name(character, "")
        category = ucd_3_2_0.category(character)
        if name and category in class_of and not name.startswith(NAMED_BY_RULE):
            sentences.append(name.split())
            labels.append(class_of[category])
    return sentences, np.array(labels, "int64")


def build_vocabulary(sentences):
    """Words in order of their ids; words seen less than RAREST_WORD times are left out."""
    counts = Counter(chain.from_iterable(sentences))
    return [PADDING, UNKNOWN, *sorted(word for word, count in counts.items() if count >= RAREST_WORD)]


def encode(sentences, vocabulary):
    """Token ids as a list of int32 arrays, one a sentence."""
    ids = {word: index for index, word in enumerate(vocabulary)}
    unknown = ids[UNKNOWN]
    return [np.array([ids.get(word, unknown) for word in words], "int32") for words in sentences]


def pad(sequences):
    """int32 (N, longest): zeros after the end of each sequence."""
    return keras.utils.pad_sequences(sequences, padding="post", dtype="int32")


def ragged(sequences):
    """The sequences end to end, and where each begins, as tfdump reads a ragged input."""
    row_splits = np.cumsum([0, *map(len, sequences)], dtype="int64")
    return {"tokens.values": np.concatenate(sequences), "tokens.row_splits": row_splits}


def shapes(count):
    """Drawn images, float32 (N, 32, 32, 3) from 0 to 255, resized as tfdump does; labels 0 to 2."""
    random = np.random.default_rng(SEED)
    labels = np.arange(count) % len(SHAPES)
    images = [keras.ops.image.resize(draw(SHAPES[label], random), (32, 32)) for label in labels]
    return split(np.stack(images).astype("float32"), labels.astype("int64"), HELD_OUT)


def build_digits_cnn():
    """Functional: images (N, 8, 8, 1) to probabilities (N, 10); `x + shortcut` is a node but not a layer."""
    layers = keras.layers
    image = keras.Input((8, 8, 1), name="image")
    x = layers.Conv2D(16, 3, padding="same", name="conv1")(image)
    x = layers.BatchNormalization(name="bn1")(x)
    shortcut = layers.ReLU(name="relu1")(x)
    x = layers.Conv2D(16, 3, padding="same", name="conv2")(shortcut)
    x = layers.BatchNormalization(name="bn2")(x)
    x = layers.ReLU(name="relu2")(x + shortcut)
    x = layers.MaxPooling2D(name="pool")(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(32, activation="relu", name="hidden")(x)
    x = layers.Dropout(0.3, name="dropout")(x)
    x = layers.Dense(10, name="logits")(x)
    return keras.Model(image, layers.Softmax(name="predictions")(x), name="digits_cnn")


def build_wine_mlp(analyses):
    """Sequential: analyses (N, 13), scaled as those given are, to probabilities (N, 3)."""
    layers = keras.layers
    normalize = layers.Normalization(name="normalize")
    normalize.adapt(analyses)
    return keras.Sequential(
        [
            keras.Input((13,), name="analysis"),
            normalize,
            layers.Dense(16, activation="tanh", kernel_regularizer="l2", name="hidden"),
            layers.Dense(3, activation="softmax", name="predictions"),
        ],
        name="wine_mlp",
    )


def build_twice():
    """Subclassed: images (N, 8, 8, 1) to logits (N, 10)."""
    model = Twice(width=16, classes=10, name="twice")
    model(keras.Input((8, 8, 1)))
    return model


def build_text_gru(words):
    """Functional: token ids (N, any length), below `words`, to probabilities (N, 7)."""
    layers = keras.layers
    tokens = keras.Input((None,), dtype="int32", name="tokens")
    x = layers.Embedding(words, 16, mask_zero=True, name="embedding")(tokens)
    x = layers.Bidirectional(layers.GRU(12, return_sequences=True, name="gru"), name="bidirectional")(x)
    attended = layers.MultiHeadAttention(num_heads=2, key_dim=8, name="attention")(x, x)
    x = layers.Add(name="residual")([x, attended])
    x = layers.GlobalAveragePooling1D(name="pool")(x)
    x = layers.Dense(len(CATEGORIES), activation="softmax", name="predictions")(x)
    return keras.Model(tokens, x, name="text_gru")


def build_shapes_cnn():
    """Sequential: images (N, 32, 32, 3) from 0 to 255 to probabilities (N, 3); it scales the pixels itself."""
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((32, 32, 3), name="image"),
            layers.Rescaling(1 / 127.5, offset=-1, name="scale"),
            layers.Conv2D(8, 3, strides=2, activation="relu", name="conv1"),
            layers.Conv2D(16, 3, strides=2, activation="relu", name="conv2"),
            layers.Conv2D(24, 3, activation="relu", name="conv3"),
            layers.GlobalAveragePooling2D(name="features"),
            layers.Dense(len(SHAPES), activation="softmax", name="predictions"),
        ],
        name="shapes_cnn",
    )


def build_siamese():
    """Functional: images `left`, `right` (N, 8, 8, 1) to the probability (N, 1) that they show one digit."""
    layers = keras.layers
    image = keras.Input((8, 8, 1), name="image")
    x = layers.Conv2D(16, 3, activation="relu", name="conv")(image)
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(24, activation="tanh", name="features")(x)
    encoder = keras.Model(image, x, name="encoder")

    left = keras.Input((8, 8, 1), name="left")
    right = keras.Input((8, 8, 1), name="right")
    distance = keras.ops.abs(encoder(left) - encoder(right))
    same = layers.Dense(1, activation="sigmoid", name="same")(distance)
    return keras.Model([left, right], same, name="siamese")


def train(model, data, loss, epochs):
    """Trains `model` in place, then compiles it with an optimizer that has no state to save."""
    model.compile(keras.optimizers.Adam(0.003), loss, metrics=["accuracy"])
    model.fit(data.train_inputs, data.train_labels, batch_size=32, epochs=epochs, verbose=0)
    model.compile("sgd", loss, metrics=["accuracy"])


def save(model, data):
    """Writes the model and its held-out labels, prints a line of the table.

    Raises RuntimeError if the written model does not predict, to the last bit, what the trained one does.
    """
    path = FOLDER / f"{model.name}.keras"
    model.save(path)
    read_back = keras.models.load_model(path, compile=False)
    if not np.array_equal(read_back(data.inputs), model(data.inputs)):
        raise RuntimeError(f"{path} does not predict what the trained model does")
    accuracy = model.evaluate(data.inputs, data.labels, verbose=0, return_dict=True)["accuracy"]
    size = path.stat().st_size
    print(f"{path.name:20}{model.count_params():10}{size:10}{len(data.labels):10}{accuracy:10.4f}")


def start_afresh():
    """Makes a model independent of those before it: random numbers, and the names that Keras numbers."""
    keras.utils.clear_session()
    keras.utils.set_random_seed(SEED)


def make_digit_models():
    """digits_cnn.keras and twice.keras, with digits.npy and digits_labels.npy."""
    data = digits()
    np.save(FOLDER / "digits.npy", data.inputs)
    np.save(FOLDER / "digits_labels.npy", data.labels)

    start_afresh()
    cnn = build_digits_cnn()
    train(cnn, data, keras.losses.SparseCategoricalCrossentropy(), epochs=12)
    save(cnn, data)

    start_afresh()
    twice = build_twice()
    train(twice, data, keras.losses.SparseCategoricalCrossentropy(from_logits=True), epochs=20)
    save(twice, data)


def make_wine_mlp():
    """wine_mlp.keras, with wine.npy and wine_labels.npy."""
    data = wine()
    np.save(FOLDER / "wine.npy", data.inputs)
    np.save(FOLDER / "wine_labels.npy", data.labels)

    start_afresh()
    model = build_wine_mlp(data.train_inputs)
    train(model, data, keras.losses.SparseCategoricalCrossentropy(), epochs=40)
    save(model, data)


def make_text_gru():
    """text_gru.keras, with text.npz, text_labels.npy and text_vocabulary.txt."""
    names = split(*character_names(), HELD_OUT)
    vocabulary = build_vocabulary(names.train_inputs)
    tokens = encode(names.inputs, vocabulary)
    np.savez(FOLDER / "text.npz", **ragged(tokens))
    np.save(FOLDER / "text_labels.npy", names.labels)
    (FOLDER / "text_vocabulary.txt").write_text("\n".join(vocabulary) + "\n", encoding="utf-8", newline="\n")

    data = Data(pad(encode(names.train_inputs, vocabulary)), names.train_labels, pad(tokens), names.labels)
    start_afresh()
    model = build_text_gru(len(vocabulary))
    train(model, data, keras.losses.SparseCategoricalCrossentropy(), epochs=6)
    save(model, data)


def make_siamese():
    """siamese.keras, with pairs.npz and pairs_labels.npy."""
    data = digit_pairs(digits())
    np.savez(FOLDER / "pairs.npz", **data.inputs)
    np.save(FOLDER / "pairs_labels.npy", data.labels)

    start_afresh()
    model = build_siamese()
    train(model, data, keras.losses.BinaryCrossentropy(), epochs=8)
    save(model, data)


def make_shapes_cnn():
    """shapes_cnn.keras; draw.py draws images for it."""
    data = shapes(3000 + HELD_OUT)
    start_afresh()
    model = build_shapes_cnn()
    train(model, data, keras.losses.SparseCategoricalCrossentropy(), epochs=30)
    save(model, data)


def main():
    """Makes every file and prints a table of the models."""
    print(f"{'model':20}{'weights':>10}{'bytes':>10}{'held out':>10}{'accuracy':>10}")
    make_digit_models()
    make_wine_mlp()
    make_text_gru()
    make_siamese()
    make_shapes_cnn()


if __name__ == "__main__":
    main()
