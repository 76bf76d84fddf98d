"""`--threads` limits TensorFlow, the pipeline, and the process of another backend; in a process of its own."""

import json
import subprocess
import sys

import pytest

from support.command import SAMPLES
from tfdump.process.machine import processor

pytestmark = pytest.mark.tensorflow

PROGRAM = f"""
import json, os
from pathlib import Path
from tfdump.errors import ModelError
from tfdump.model.backend import import_quietly
from tfdump.model.loading.options import LoadingOptions
from tfdump.model.loading.with_options import load_with_options
from tfdump.process.machine import cores, limit_threads
load_with_options(LoadingOptions(Path({str(SAMPLES / "wine_mlp.keras")!r}), threads=1))
import tensorflow as tf
told = [tf.config.threading.get_intra_op_parallelism_threads(), tf.config.threading.get_inter_op_parallelism_threads()]
tf.constant(1) + 1  # TensorFlow runs from here on
import_quietly()
limit_threads(None)
one = cores()
limit_threads(3)
try:
    import_quietly()
except ModelError as error:
    refused = str(error)
print(json.dumps([told, one, refused]))
"""


def test_the_limit_is_given_to_tensorflow_and_to_the_pipeline() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=300, check=True)
    told, one, refused = json.loads(done.stdout)
    assert (told, one) == ([1, 1], 1)
    assert refused.startswith("TensorFlow runs in this process already, and not with 3 threads")


BACKEND = """
import sys
from tfdump.model.backends.options import Backend
from tfdump.model.backends.process import BackendProcess
from tfdump.process.machine import limit_threads
limit_threads(2)
process = BackendProcess(Backend("jax", sys.executable))
environment = open(f"/proc/{process._process.pid}/environ").read().split("\\0")
print(sorted(word for word in environment if word.startswith(("TF_NUM", "OMP_NUM", "NPROC="))))
process.close()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="it reads the environment of a process")
def test_the_limit_is_in_the_environment_of_another_backend() -> None:
    done = subprocess.run([sys.executable, "-c", BACKEND], capture_output=True, text=True, timeout=300, check=True)
    names = ["NPROC", "OMP_NUM_THREADS", "TF_NUM_INTEROP_THREADS", "TF_NUM_INTRAOP_THREADS"]
    assert done.stdout.strip() == str([f"{name}=2" for name in names])


def test_the_processor_has_a_name_that_does_not_change() -> None:
    assert processor() == processor()
    assert processor()["name"]
