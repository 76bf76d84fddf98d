"""The same networks in other formats: SavedModel directories and `.tflite` files, made by Keras and TensorFlow."""

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from support.command import SAMPLES
from tfdump.model.tflite_internals import schema_py_generated as schema

HOW = ("float", "float16", "dynamic", "int8", "int8_inside", "int16")


@contextlib.contextmanager
def without_chatter() -> Iterator[None]:
    """Keep what the exporter and the converter print away from the test's output."""
    saved = [os.dup(1), os.dup(2)]
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        with (
            open(os.devnull, "w") as nothing,
            contextlib.redirect_stdout(nothing),
            contextlib.redirect_stderr(nothing),
        ):
            os.dup2(nowhere, 1)
            os.dup2(nowhere, 2)
            yield
    finally:
        for number, descriptor in zip((1, 2), saved, strict=True):
            os.dup2(descriptor, number)
            os.close(descriptor)
        os.close(nowhere)


def sample(name: str) -> keras.Model:
    """A sample model, loaded as if it were the first of the process."""
    keras.utils.clear_session()  # the names that Keras numbers begin anew
    sys.path.insert(0, str(SAMPLES))
    try:
        import twice  # noqa: F401 - registers the classes of twice.keras
    finally:
        sys.path.pop(0)
    return keras.models.load_model(SAMPLES / f"{name}.keras", compile=False)


def exported(model: keras.Model, folder: Path) -> Path:
    """The model as `model.export` writes it."""
    with without_chatter():
        model.export(folder, verbose=False)
    return folder


def saved(model: object, folder: Path, **options: object) -> Path:
    """The model or module as `tf.saved_model.save` writes it."""
    with without_chatter():
        tf.saved_model.save(model, str(folder), **options)
    return folder


def lite(model: keras.Model, file: Path, how: str = "float", data: np.ndarray | None = None) -> Path:
    """The model as a `.tflite` file, quantized as HOW says; `data` are representative examples."""
    if isinstance(model, keras.Sequential) or hasattr(model, "operations"):
        converter = tf.lite.TFLiteConverter.from_keras_model(model)
    else:  # the converter itself does not take a subclassed model
        folder = exported(model, file.with_suffix(".exported"))
        converter = tf.lite.TFLiteConverter.from_saved_model(str(folder))
    if how != "float":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if how == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if how.startswith("int"):
        wide = tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8
        converter.representative_dataset = lambda: ([row[None]] for row in data)
        converter.target_spec.supported_ops = [wide if how == "int16" else tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    if how == "int8":
        converter.inference_input_type = converter.inference_output_type = tf.int8
    with without_chatter():
        file.write_bytes(converter.convert())
    return file


def without_names(file: Path) -> Path:
    """The same file as a converter writes it that keeps no names."""
    import flatbuffers

    model = schema.ModelT.InitFromPackedBuf(file.read_bytes(), 0)
    for graph in model.subgraphs:
        for number, tensor in enumerate(graph.tensors):
            tensor.name = f"t{number}".encode()
    builder = flatbuffers.Builder(1 << 16)
    builder.Finish(model.Pack(builder), b"TFL3")
    bare = file.with_name("bare.tflite")
    bare.write_bytes(bytes(builder.Output()))
    return bare
