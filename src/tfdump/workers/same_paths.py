"""The files of a run by their whole names, because a worker of a cluster may be in another folder."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from tfdump.inputs.arguments import STDIN, parse_argument
from tfdump.run.shards.job import ShardJob


def with_whole_paths(job: ShardJob) -> ShardJob:
    """Return the same job, whose files are named from the root of the file system on."""
    model, data, reading = job.model, job.data, job.options.reading
    return replace(
        job,
        model=replace(
            model,
            path=model.path.absolute(),
            imports=tuple(_module(path) for path in model.imports),
            like=_whole(model.like),
            backend_python=_whole(model.backend_python),
        ),
        inputs=tuple(map(_argument, job.inputs)),
        targets=tuple(map(_argument, job.targets)),
        sample_weight=tuple(map(_argument, job.sample_weight)),
        data=replace(
            data,
            features=_whole(data.features),
            preset=_whole(data.preset),
            function=_function(data.function),
            preprocess=tuple(map(_function, data.preprocess)),
        ),
        options=replace(job.options, reading=replace(reading, preprocess=tuple(map(_function, reading.preprocess)))),
        folder=job.folder.absolute(),
    )


def _whole(path: Path | None) -> Path | None:
    return None if path is None else path.absolute()


def _module(path: Path) -> Path:
    """Return a file of a module by its whole name; another text is the name of a module."""
    return path.absolute() if path.suffix == ".py" else path


def _argument(text: str) -> str:
    """Return `[NAME=]FILE[::MEMBER]` with the whole name of the file, or of the list after `@`."""
    argument = parse_argument(text)
    if argument.file == STDIN or not argument.file:
        return text
    at, file = ("@", argument.file[1:]) if argument.file.startswith("@") else ("", argument.file)
    name = "" if argument.name is None else f"{argument.name}="
    member = "" if argument.member is None else f"::{argument.member}"
    return f"{name}{at}{Path(file).absolute()}{member}"


def _function(text: Any) -> Any:
    """Return `[INPUT=]FILE.py:FUNCTION` with the whole name of the file; everything else as it is."""
    parts = re.fullmatch(r"([^=/]+=)?(.+\.py:\w+)", text) if isinstance(text, str) else None
    return text if parts is None else f"{parts[1] or ''}{Path(parts[2]).absolute()}"
