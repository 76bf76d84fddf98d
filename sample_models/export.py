"""Writes digits_cnn.keras in other formats into `exported/`: a SavedModel, and `.tflite` files in float and int8."""

from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

FOLDER = Path(__file__).parent
OUT = Path("exported")


def main():
    """Make all files."""
    OUT.mkdir(exist_ok=True)
    model = keras.models.load_model(FOLDER / "digits_cnn.keras", compile=False)
    images = np.load(FOLDER / "digits.npy")
    saved = OUT / "digits_cnn"
    model.export(saved, verbose=False)

    converter = tf.lite.TFLiteConverter.from_saved_model(str(saved))
    (OUT / "digits_cnn.tflite").write_bytes(converter.convert())

    converter = tf.lite.TFLiteConverter.from_saved_model(str(saved))
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([image[None]] for image in images[:100])
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    (OUT / "digits_cnn_int8.tflite").write_bytes(converter.convert())


if __name__ == "__main__":
    main()
