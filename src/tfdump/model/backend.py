"""Importing TensorFlow without its log messages. This module itself does not import it."""

import importlib
import logging
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

from tfdump.errors import ModelError, TfdumpError, reason_of
from tfdump.process.garbage import hold_collection, settle_collection
from tfdump.process.machine import thread_limit
from tfdump.process.requirements import REQUIREMENTS, STACK, complaint

_BOTH = " ".join(f"'{REQUIREMENTS[package].specifier}'" for package in STACK)


def choose_backend() -> None:
    """Check the versions of TensorFlow and Keras, and make TensorFlow the backend of Keras.

    The configuration file of Keras is ignored. Raises ModelError when one of the two is missing or has an unsupported
    version, when the environment asks for another backend, or when this process already runs Keras on another one.
    """
    _check_versions()
    keras = sys.modules.get("keras")
    if keras is not None and hasattr(keras, "config"):
        running = keras.config.backend()
        if running != "tensorflow":
            raise ModelError(
                f"Keras runs on '{running}' in this process, but tfdump runs models on TensorFlow "
                "(save the model and dump the file: tfdump activations MODEL INPUT)"
            )
        return
    backend = os.environ.get("KERAS_BACKEND") or "tensorflow"  # Keras treats an empty name as none
    if backend != "tensorflow":
        raise ModelError(
            f"KERAS_BACKEND is '{backend}', but tfdump runs models on TensorFlow "
            "(set KERAS_BACKEND=tensorflow; a .keras file that another backend wrote can be loaded)"
        )
    os.environ["KERAS_BACKEND"] = backend


def import_aside() -> None:
    """Import Keras for a module that needs it at its top, and keep the messages of TensorFlow off stderr.

    The messages are shown when the import fails. Raises ModelError as `choose_backend` does.
    """
    choose_backend()
    if "keras" not in sys.modules:
        with _stderr_set_aside():
            importlib.import_module("keras")


def import_for_checks(verbose: bool | None) -> None:
    """Import Keras to check a file, on TensorFlow unless this process or the environment has another backend.

    `verbose` lets messages through; None is for a process that keeps its own messages, where only Keras is imported.
    Raises ModelError when a package cannot be imported.
    """
    keras = sys.modules.get("keras")
    running = os.environ.get("KERAS_BACKEND") or "tensorflow"
    if keras is not None and hasattr(keras, "config"):
        running = keras.config.backend()
    elif find_spec(running) is None:  # the backend of the environment is only in that of another process
        running = os.environ["KERAS_BACKEND"] = "tensorflow"
    if running == "tensorflow":
        import_aside() if verbose is None else import_quietly(verbose)
    elif keras is None:
        with _stderr_set_aside():
            importlib.import_module("keras")


def import_quietly(verbose: bool = False) -> None:
    """Import TensorFlow and Keras, and keep their messages off stderr unless `verbose`.

    Raises ModelError when they cannot be imported, and as `choose_backend` does.
    """
    choose_backend()
    if verbose:
        _import()
        return
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    warnings.simplefilter("ignore")  # Keras warns programmers; tfdump reports what concerns the dump
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
    except Exception as cause:  # a library that does not fit the others may raise anything
        raise ModelError(
            f"TensorFlow or Keras cannot be imported: {type(cause).__name__}: {reason_of(cause)} "
            f"(-v shows more; to reinstall both: pip install --force-reinstall {_BOTH})"
        ) from cause
    _check_versions()  # again: a build under another name shows its version only now
    _limit_threads(tensorflow)
    tensorflow.config.list_physical_devices()  # the first look at the devices writes messages too
    settle_collection()


def _limit_threads(tensorflow: Any) -> None:
    """Let TensorFlow use as many threads as this process may; raises ModelError where it runs with others already."""
    limit = thread_limit()
    if limit is None:
        return
    try:
        tensorflow.config.threading.set_intra_op_parallelism_threads(limit)
        tensorflow.config.threading.set_inter_op_parallelism_threads(limit)
    except RuntimeError:
        raise ModelError(
            f"TensorFlow runs in this process already, and not with {limit} threads (set them first, or leave them out)"
        ) from None


def _check_versions() -> None:
    wrong = complaint(STACK)
    if wrong is not None:
        raise ModelError(wrong)


@contextmanager
def _stderr_set_aside() -> Iterator[None]:
    """Redirect file descriptor 2 to a temporary file while the body runs.

    The content is written to stderr when the body raises anything but a TfdumpError, which explains itself.
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
