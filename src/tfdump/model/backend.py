"""Importing TensorFlow without its chatter. This module itself does not import it."""

import importlib
import logging
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from tfdump.errors import ModelError, TfdumpError, reason_of
from tfdump.process.garbage import hold_collection, settle_collection
from tfdump.process.requirements import REQUIREMENTS, STACK, complaint

_BOTH = " ".join(f"'{REQUIREMENTS[package].specifier}'" for package in STACK)


def choose_backend() -> None:
    """See that TensorFlow and Keras are those that tfdump needs, and that Keras runs on TensorFlow.

    What Keras's own configuration file says does not count. Raises ModelError when one of the two is missing or has
    another version, when the environment asks for another backend, or when this process already runs Keras on one.
    """
    _check_versions()
    keras = sys.modules.get("keras")
    if keras is not None and hasattr(keras, "config"):
        running = keras.config.backend()
        if running != "tensorflow":
            raise ModelError(
                f"Keras runs on '{running}' in this process, and tfdump runs models on TensorFlow "
                "(save the model, and dump the file: tfdump activations MODEL INPUT)"
            )
        return
    backend = os.environ.get("KERAS_BACKEND") or "tensorflow"  # Keras takes an empty name for none
    if backend != "tensorflow":
        raise ModelError(
            f"KERAS_BACKEND is '{backend}', and tfdump runs models on TensorFlow "
            "(run it with KERAS_BACKEND=tensorflow; a .keras file of any backend loads)"
        )
    os.environ["KERAS_BACKEND"] = backend


def import_aside() -> None:
    """Import Keras for a module that needs it at its top, keeping what TensorFlow prints off stderr.

    What they printed is shown when the import fails. Raises ModelError when Keras is set to another backend.
    """
    choose_backend()
    if "keras" not in sys.modules:
        with _stderr_set_aside():
            importlib.import_module("keras")


def import_quietly(verbose: bool = False) -> None:
    """Import TensorFlow and Keras, keeping what they print off stderr unless `verbose`.

    Raises ModelError when they cannot be imported, are not those that tfdump needs, or Keras is set to another backend.
    """
    choose_backend()
    if verbose:
        _import()
        return
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    warnings.simplefilter("ignore")  # Keras's own advice to programmers; tfdump says what concerns the dump
    with _stderr_set_aside():
        _import()
    for name in ("absl", "tensorflow"):
        logging.getLogger(name).setLevel(logging.ERROR)


def _import() -> None:
    if "tensorflow" not in sys.modules:
        hold_collection()
    try:
        tensorflow = importlib.import_module("tensorflow")
        importlib.import_module("keras")
    except Exception as cause:  # also what a library raises that fits to no other
        raise ModelError(
            f"TensorFlow or Keras cannot be imported: {type(cause).__name__}: {reason_of(cause)} "
            f"(-v shows more; to install both anew: pip install --force-reinstall {_BOTH})"
        ) from cause
    _check_versions()  # once more: a build of another name does not tell before
    tensorflow.config.list_physical_devices()  # the first look at devices prints as well
    settle_collection()


def _check_versions() -> None:
    wrong = complaint(STACK)
    if wrong is not None:
        raise ModelError(wrong)


@contextmanager
def _stderr_set_aside() -> Iterator[None]:
    """Send file descriptor 2 to a temporary file.

    What it holds is replayed when the body fails with anything but a TfdumpError, which says it in one line.
    """
    sys.stderr.flush()
    saved = os.dup(2)
    with tempfile.TemporaryFile() as aside:
        os.dup2(aside.fileno(), 2)
        try:
            yield
        except TfdumpError:
            raise
        except Exception:
            os.dup2(saved, 2)
            aside.seek(0)
            os.write(2, aside.read())
            raise
        finally:
            sys.stderr.flush()
            os.dup2(saved, 2)
            os.close(saved)
