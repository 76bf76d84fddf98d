"""SavedModels of compiled code, as a model under JAX is exported: one operation whose inside cannot be seen."""

from pathlib import Path

import h5py
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.compiler.tf2xla.python import xla

from support.command import Run

pytestmark = pytest.mark.tensorflow

DOUBLES = b"""module @doubles {
  func.func public @main(%x: tensor<3x2xf32>) -> tensor<3x2xf32> {
    %y = stablehlo.add %x, %x : tensor<3x2xf32>
    return %y : tensor<3x2xf32>
  }
}"""


class Compiled(tf.Module):
    """A function of compiled code alone, and one with operations of TensorFlow behind it."""

    @tf.function(input_signature=[tf.TensorSpec((3, 2), tf.float32, name="x")])
    def alone(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"y": tf.identity_n(self._call(x))[0]}

    @tf.function(input_signature=[tf.TensorSpec((3, 2), tf.float32, name="x")])
    def mixed(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"y": tf.square(tf.nn.relu(self._call(x)[0], name="after"), name="last")}

    @staticmethod
    def _call(x: tf.Tensor) -> list[tf.Tensor]:
        return xla.call_module([x], version=5, module=DOUBLES, Tout=[tf.float32], Sout=[(3, 2)], platforms=["CPU"])


@pytest.mark.parametrize(("signature", "names"), [("alone", set()), ("mixed", {"after", "last"})])
def test_only_what_is_outside_of_compiled_code_is_dumped(
    signature: str, names: set[str], tfdump: Run, tmp_path: Path
) -> None:
    module = Compiled()
    tf.saved_model.save(module, tmp_path / "m", signatures={"alone": module.alone, "mixed": module.mixed})
    x = np.arange(-3, 3, dtype=np.float32).reshape(3, 2)
    np.save(tmp_path / "x.npy", x)
    done = tfdump(
        "activations",
        tmp_path / "m",
        tmp_path / "x.npy",
        "--trust-model",
        "--signature",
        signature,
        "-o",
        tmp_path / "d.h5",
    )
    assert done.returncode == 0
    assert done.stderr.count("XlaCallModule") == 1
    assert "dump the Keras file with --backend jax" in done.stderr
    with h5py.File(tmp_path / "d.h5") as dump:
        assert set(dump["activations"]) == names
        expected = 2 * x if signature == "alone" else np.square(np.maximum(2 * x, 0))
        np.testing.assert_array_equal(dump["outputs/y"][()], expected)
        if "after" in names:
            np.testing.assert_array_equal(dump["activations/after"][()], np.maximum(2 * x, 0))
