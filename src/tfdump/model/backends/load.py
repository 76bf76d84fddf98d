"""Loading a Keras file on a backend: tfdump checks the file, and the process of the backend builds the model.

What a file may do is decided here, before the other process sees it. Classes that the user's modules define are left
to that process, which imports them: they may need a backend that this one lacks.
"""

import json
import re
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tfdump.errors import ModelError
from tfdump.files.limits import default_max_bytes
from tfdump.files.paths import check_path
from tfdump.model.backend import import_for_checks
from tfdump.model.backends.model import BackendModel
from tfdump.model.backends.options import Backend
from tfdump.model.backends.process import BackendProcess, UnexplainedError
from tfdump.model.loading.archive import check_links, check_members, check_weights
from tfdump.model.loading.formats import KERAS, is_of_keras_2, kind_of_file, read_config, sha256_of, version_of
from tfdump.model.loading.load_errors import ErrorElsewhere, explained
from tfdump.model.loading.loaded_model import LoadedModel
from tfdump.model.runnable import Runtime


def load_on_backend(
    path: Path,
    backend: Backend,
    *,
    trust: bool = False,
    imports: Sequence[str] = (),
    max_bytes: int | None = None,
    seed: int = 0,
    quiet: bool = False,
) -> LoadedModel:
    """Load a Keras file in a process with that backend, which imports modules first.

    `quiet` keeps the messages of Keras off stderr in this process too, for the command line.

    Raises UntrustedModelError when the file contains code and `trust` is False, and ModelError where it is no Keras
    file, the backend is not there, or the model cannot be built on it.
    """
    check_path(path, "model", ModelError)
    limit = default_max_bytes() if max_bytes is None else max_bytes
    config = _config_of(path, backend, trust, limit)
    stored = check_weights(path, limit)
    process = BackendProcess(backend)
    try:
        process.send("start", backend=backend.name, seed=seed)  # it imports Keras while this process checks the file
        left = [] if trust else _checked(path, config, bool(imports), backend.verbose if quiet else None)
        versions = process.receive().fields
        description = _loaded(
            process,
            path,
            versions["keras_version"],
            config=config,
            trust=trust,
            imports=list(imports),
            left=left,
            limit=limit,
            stored=stored,
            seed=seed,
        )
    except BaseException:
        process.close()
        raise
    runtime = Runtime(versions["backend"], versions["backend_version"], versions["keras_version"])
    model = BackendModel(process, runtime, description)
    text = json.dumps(config, ensure_ascii=False)
    return LoadedModel(model, path.name, sha256_of(path), text, trusted=trust, max_bytes=limit)


def _config_of(path: Path, backend: Backend, trust: bool, limit: int) -> dict[str, Any]:
    """Return the architecture in a Keras file, after the checks of the file that need no Keras."""
    kind = kind_of_file(path)
    if kind != KERAS:
        raise ModelError(f"{backend.in_words} is for Keras files, but {path} is of the kind {kind} (leave it out)")
    if path.is_dir():
        check_links(path, trust)
    elif zipfile.is_zipfile(path):
        check_members(path, limit)
    config = read_config(path)
    if is_of_keras_2(path):
        raise ModelError(
            f"{path} was saved by Keras 2, whose models tfdump translates for TensorFlow only (leave "
            f"{backend.in_words} out, or load the model with Keras 3 and save it again)"
        )
    return config


def _checked(path: Path, config: dict[str, Any], imports: bool, verbose: bool | None) -> list[dict[str, Any]]:
    """Check what an architecture names; return what the other process has to check, which imports the user's modules.

    That is nothing unless it imports any.
    """
    import_for_checks(verbose)
    from tfdump.model.loading.trust import check_config
    from tfdump.model.loading.user_code import LaterCode, UserCode

    code = LaterCode() if imports else UserCode(())
    check_config(config, str(path), False, code)
    return code.left if isinstance(code, LaterCode) else []


def _loaded(process: BackendProcess, path: Path, keras_version: str, **fields: Any) -> dict[str, Any]:
    """Let the process load the model; errors of Keras are explained as those of this process are.

    `keras_version` is that of the process: an older Keras may not know what a newer one writes.
    """
    try:
        return process.ask("load", path=str(path), **fields).fields
    except UnexplainedError as error:
        known = explained(path, ErrorElsewhere(str(error), error.classes))
        saved_by = version_of(path)
        if not _is_newer(saved_by, keras_version):
            raise known from error.__cause__
        raise type(known)(
            f"{known} (it was saved by Keras {saved_by}, and {process.python} has Keras {keras_version}: save the "
            "model with the older one)"
        ) from error.__cause__


def _is_newer(version: str, other: str) -> bool:
    one, two = (tuple(map(int, re.findall(r"\d+", text)[:3])) for text in (version, other))
    return one > two
