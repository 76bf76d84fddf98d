"""The files of a run by their whole names, which mean the same in every folder."""

from pathlib import Path
from typing import Any

import pytest

from tfdump.inputs.data_options import DataOptions
from tfdump.inputs.source import ReadingOptions
from tfdump.model.loading.options import LoadingOptions
from tfdump.run.activations.options import ActivationOptions
from tfdump.run.shards.job import ShardJob
from tfdump.workers.same_paths import with_whole_paths


def job(**options: Any) -> ShardJob:
    defaults = {"kind": "activations", "model": LoadingOptions(Path("m.keras")), "inputs": ("x.npy",),
                "data": DataOptions(), "options": ActivationOptions(), "command": "c", "folder": Path("d")}  # fmt: skip
    return ShardJob(**(defaults | options))


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        ("x.npy", "{here}/x.npy"),
        ("image=x.npy", "image={here}/x.npy"),
        ("a.h5::/group/x", "{here}/a.h5::/group/x"),
        ("image=a.npz::x", "image={here}/a.npz::x"),
        ("image=/data/a.npz::x", "image=/data/a.npz::x"),
        ("@files.txt", "@{here}/files.txt"),
        ("images/*.png", "{here}/images/*.png"),
        ("odd=name.npy", "{here}/odd=name.npy"),
    ],
)
def test_inputs_keep_their_names_and_members(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, whole: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "odd=name.npy").touch()
    expected = (whole.format(here=tmp_path),)
    changed = with_whole_paths(job(inputs=(text,), targets=(text,), sample_weight=(text,)))
    assert (changed.inputs, changed.targets, changed.sample_weight) == (expected, expected, expected)


def test_all_other_files_of_a_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    steps = ("scale=1/255", "code.py:f", "image=code.py:f", "resnet50")
    whole_steps = ("scale=1/255", f"{tmp_path}/code.py:f", f"image={tmp_path}/code.py:f", "resnet50")
    changed = with_whole_paths(
        job(
            model=LoadingOptions(Path("m.keras"), (Path("layers.py"), Path("package")), like=Path("like.keras")),
            data=DataOptions(features=Path("f.json"), preset=Path("p"), function="code.py:g", preprocess=steps),
            options=ActivationOptions(reading=ReadingOptions(preprocess=steps)),
        )
    )
    assert changed.model.path == tmp_path / "m.keras"
    assert changed.model.imports == (tmp_path / "layers.py", Path("package"))
    assert changed.model.like == tmp_path / "like.keras"
    assert (changed.data.features, changed.data.preset) == (tmp_path / "f.json", tmp_path / "p")
    assert changed.data.function == f"{tmp_path}/code.py:g"
    assert changed.data.preprocess == changed.options.reading.preprocess == whole_steps
    assert changed.folder == tmp_path / "d"


def test_a_job_with_whole_names_says_the_same_of_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The manifest records the names of files without folders, so the folder of a worker changes nothing."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "code.py").write_text("def f(x):\n    return x\n")
    steps = ("code.py:f", "image=code.py:f")
    one = job(data=DataOptions(preprocess=steps), options=ActivationOptions(reading=ReadingOptions(preprocess=steps)))
    assert with_whole_paths(one).decisive_options() == one.decisive_options()
