"""Errors and warnings of the Python API name its arguments, and not the options of the command line."""

import inspect
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tfdump
from tfdump import cluster
from tfdump.api.argument_names import _FLAGS, _NAMES, errors_name_arguments, in_words_of_python
from tfdump.errors import ModelError


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("lower --batch-size or --memory", "lower batch_size or memory"),
        ("--per-example: 'bn' (leave --per-example out)", "per_example=True: 'bn' (leave per_example=True out)"),
        ("use --wrt inputs or --wrt activations", "use wrt='inputs' or wrt='activations'"),
        ("choose: --loss NAME, or --objective sum", "choose: loss=NAME, or objective sum"),
        ("--objective 'x[3]' is not one", "objective='x[3]' is not one"),
        ("--loss OUTPUT=NAME for some", "loss OUTPUT=NAME for some"),
        ("leave it out: -x 'dense'; select with -l", "leave it out: exclude='dense'; select with layers"),
        ("add --trust-model if you trust its author", "add trust=True if you trust its author"),
        ("--examples 0:3, --max-bytes-of and a--loss stay", "--examples 0:3, --max-bytes-of and a--loss stay"),
    ],
)
def test_options_become_arguments(message: str, expected: str) -> None:
    assert in_words_of_python(message) == expected


def test_an_error_keeps_its_class_and_its_cause() -> None:
    with pytest.raises(ModelError, match=r"^leave per_example=True out$") as raised, errors_name_arguments():
        raise ModelError("leave --per-example out") from ValueError("x")
    assert isinstance(raised.value.__cause__, ValueError)


@pytest.mark.tensorflow
def test_every_name_is_an_argument() -> None:
    functions: tuple[Any, ...] = (
        tfdump.activations,
        tfdump.gradients,
        tfdump.compare,
        tfdump.diff,
        tfdump.DumpCallback,
        cluster.activations,
        cluster.gradients,
    )
    arguments = {name for function in functions for name in inspect.signature(function).parameters}
    assert {name.removesuffix("=True") for name in (*_FLAGS.values(), *_NAMES.values())} <= arguments


@pytest.mark.tensorflow
def test_the_functions_name_their_arguments(tmp_path: Path) -> None:
    import keras

    model = keras.Sequential([keras.Input((3,), name="x"), keras.layers.Dense(2, name="dense")])
    x = np.zeros((4, 3), np.float32)
    with pytest.raises(ModelError, match=r"^loss and objective exclude each other"):
        tfdump.gradients(model, x, x, loss="mse", objective="sum")
    with pytest.raises(ModelError, match=r"^optimizer Nadamm: Keras has no such optimizer"):
        tfdump.gradients(model, x, objective="sum", steps=2, learning_rate=0.1, optimizer="Nadamm")
    with pytest.warns(tfdump.TfdumpWarning, match=r"attention=True: the model has no such tensors"):
        tfdump.activations(model, x, attention=True)
    model.compile("sgd", "mse")
    dumps = tfdump.DumpCallback(tmp_path, x, objective="logits[9]", wrt="weights")
    with pytest.raises(ModelError, match=r"^objective='logits\[9\]': the model has no output"):
        model.fit(x, np.zeros((4, 2)), verbose=0, callbacks=[dumps])
