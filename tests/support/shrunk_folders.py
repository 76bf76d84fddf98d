"""Folders that `tfdump compare --shrink` wrote."""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import pytest

from support.command import Ended


@dataclass(frozen=True)
class ShrunkFolder:
    """The folder of a bug report."""

    path: Path

    @property
    def files(self) -> list[str]:
        return sorted(file.name for file in self.path.iterdir())

    @property
    def readme(self) -> str:
        return (self.path / "README.md").read_text()

    @property
    def examples(self) -> list[int]:
        found = re.search(r"examples? ([\d, ]+) of ", self.readme)
        assert found is not None
        return [int(number) for number in found[1].split(", ")]

    @property
    def commands(self) -> list[list[str]]:
        block = self.readme.split("```sh\n")[1].split("```")[0]
        return [shlex.split(line) for line in block.splitlines()]

    def array(self, name: str) -> np.ndarray:
        return np.load(self.path / f"{name}.npy")

    def layers(self, side: str = "golden") -> list[str]:
        """The names of the layers of the part of one side, a Keras model, without its inputs."""
        model = keras.models.load_model(self.path / f"{side}.keras", compile=False)
        return [one.name for one in model.operations if type(one).__name__ != "InputLayer"]


def reproduced(folder: ShrunkFolder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Ended:
    """Run the commands of the README in the folder; return how the last one ended."""
    from tfdump.cli import main

    ended = Ended(0, "", "")
    with monkeypatch.context() as patch:
        patch.chdir(folder.path)
        for command, *words in folder.commands:
            assert command == "tfdump"
            assert ended.returncode == 0, ended.stderr
            capsys.readouterr()
            status = main.run(words)
            written = capsys.readouterr()
            ended = Ended(status, written.out, written.err)
    return ended
