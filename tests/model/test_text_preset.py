"""Text as the inputs of a model, by the preprocessor of a keras-hub preset that the tests make themselves."""

import json
from pathlib import Path

import h5py
import keras
import keras_hub
import numpy as np
import pandas
import pytest

from support.command import Run

pytestmark = pytest.mark.tensorflow

VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "film", "is", "good", "bad", "##ly", "ä"]
TEXTS = ["the film is good", "badly good ä", "", "the the the the the the the the", "unknown is bad"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A preset of a classifier, of a backbone with its tokenizer alone, and their models."""
    folder = tmp_path_factory.mktemp("presets")
    keras.utils.set_random_seed(0)
    tokenizer = keras_hub.models.BertTokenizer(VOCABULARY)
    backbone = keras_hub.models.BertBackbone(
        vocabulary_size=12, num_layers=1, num_heads=2, hidden_dim=8, intermediate_dim=16, max_sequence_length=12
    )
    preprocessor = keras_hub.models.BertTextClassifierPreprocessor(tokenizer, sequence_length=7)
    classifier = keras_hub.models.BertTextClassifier(backbone, num_classes=3)
    rng = np.random.default_rng(0)
    classifier.set_weights([rng.standard_normal(weight.shape) for weight in classifier.get_weights()])
    classifier.save_to_preset(str(folder / "classifier"))
    preprocessor.save_to_preset(str(folder / "classifier"))
    backbone.save_to_preset(str(folder / "backbone"))
    tokenizer.save_to_preset(str(folder / "backbone"))
    classifier.save(folder / "classifier.keras")
    backbone.save(folder / "backbone.keras")
    ids = keras.Input((5,), dtype="int32", name="tokens")
    keras.Model(ids, keras.layers.Embedding(12, 4, name="embedding")(ids)).save(folder / "ids.keras")
    (folder / "reviews.txt").write_text("\n".join(TEXTS) + "\n")
    return folder


def expected_inputs(made: Path, length: int = 7) -> dict[str, np.ndarray]:
    """What keras-hub makes of the texts."""
    preprocessor = keras_hub.models.BertTextClassifierPreprocessor.from_preset(
        str(made / "classifier"), sequence_length=length
    )
    return {name: np.asarray(value) for name, value in preprocessor(TEXTS).items()}


def numbers_in(path: Path) -> dict[str, np.ndarray]:
    """All datasets of gradients in a dump."""
    with h5py.File(path) as file:
        names: list[str] = []
        file["gradients"].visit(names.append)
        return {
            name: file["gradients"][name][()] for name in names if isinstance(file["gradients"][name], h5py.Dataset)
        }


def test_lines_become_the_inputs_of_the_preset(made: Path, tfdump: Run) -> None:
    arguments = ["activations", made / "classifier.keras", made / "reviews.txt", "--import", "keras_hub"]
    ended = tfdump(*arguments, "--preset", made / "classifier", "--save-inputs", "--batch-size", 2, "-o", made / "d.h5")
    assert ended.returncode == 0, ended.stderr
    inputs = expected_inputs(made)
    model = keras.models.load_model(made / "classifier.keras", compile=False)
    backbone = model.backbone(inputs)
    with h5py.File(made / "d.h5") as file:
        for name, values in inputs.items():
            np.testing.assert_array_equal(file[f"inputs/{name}"][()], values, err_msg=name)
        logits = np.asarray(model(inputs, training=False))
        np.testing.assert_allclose(file["outputs/logits"][()], logits, rtol=1e-4, atol=1e-5)
        assert np.asarray(backbone["pooled_output"]).shape == (5, 8)
        assert file["examples/id"].asstr()[()].tolist() == [f"reviews.txt:{line}" for line in range(1, 6)]
        settings = json.loads(file.attrs["input_settings"])
    assert settings["token_ids"] == {
        "preset": "classifier",
        "preprocessor": "BertTextClassifierPreprocessor",
        "sequence_length": 7,
        "keras_hub": keras_hub.__version__,
    }


def test_a_column_of_a_table_is_text_too(made: Path, tfdump: Run) -> None:
    table = pandas.DataFrame({"text": TEXTS, "label": ["a", "b", "a", "c", "a"], "n": range(5)})
    table.to_csv(made / "data.csv", index=False)
    arguments = ["gradients", made / "classifier.keras", "--import", "keras_hub", "--preset", made / "classifier"]
    loss = ["--loss", "sparse_categorical_crossentropy", "--from-logits", "--norms-only"]
    np.save(made / "labels.npy", [0, 1, 0, 2, 0])
    text, label, labels = f"{made}/data.csv::text", f"{made}/data.csv::label", made / "labels.npy"
    norms = []
    for inputs in ([text, "--targets", label], [text, label], [made / "reviews.txt", labels]):
        ended = tfdump(*arguments, *inputs, *loss, "--force", "-o", made / "norms.h5")
        assert ended.returncode == 0, ended.stderr
        norms.append(numbers_in(made / "norms.h5"))
    assert norms[0] == norms[1] == norms[2]
    assert len(norms[0]) > 10


def test_a_preset_without_a_preprocessor_has_that_of_its_tokenizer(made: Path, tfdump: Run) -> None:
    arguments = [
        "activations",
        made / "ids.keras",
        made / "reviews.txt",
        "--preset",
        made / "backbone",
        "--save-inputs",
    ]
    ended = tfdump(*arguments, "-o", made / "ids.h5")
    assert ended.returncode == 0, ended.stderr
    with h5py.File(made / "ids.h5") as file:
        np.testing.assert_array_equal(file["inputs/tokens"][()], expected_inputs(made, 5)["token_ids"])


def test_what_is_wrong_with_a_preset(made: Path, tfdump: Run, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    evil = tmp_path / "evil"
    evil.mkdir()
    (evil / "tokenizer.json").write_text(
        json.dumps({"module": "os", "class_name": "system", "config": {"command": "x"}})
    )
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    (damaged / "tokenizer.json").write_text("{")
    for preset, message in (
        ("bert_tiny_en_uncased", "--preset bert_tiny_en_uncased is no folder (presets are not downloaded"),
        (tmp_path / "empty", "empty is no keras-hub preset of text (it has no tokenizer.json)"),
        (evil, "tokenizer.json"),
        (damaged, "cannot read tokenizer.json"),
    ):
        ended = tfdump(
            "activations", made / "ids.keras", made / "reviews.txt", "--preset", preset, "-o", tmp_path / "x.h5"
        )
        assert ended.returncode == 2, preset
        assert message in ended.stderr
        assert ended.stderr.strip().splitlines()[-1].startswith("Error:")
        assert not (tmp_path / "x.h5").exists()


def test_a_preset_reads_text_alone(made: Path, tfdump: Run) -> None:
    ended = tfdump("activations", made / "ids.keras", made / "labels.npy", "--preset", made / "backbone")
    assert ended.returncode == 2
    assert "--preset tokenizes text (give a .txt file" in ended.stderr
