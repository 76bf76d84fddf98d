"""The folder of the dumps of a training: what an earlier one left in it, and which of this one stay."""

from collections import deque
from pathlib import Path

from tfdump.api.training_names import claim_folder, dump_name
from tfdump.errors import DumpError


class TrainingFolder:
    """The folder `path` of dumps of a `kind` at intervals `on`, of which the `keep` latest stay, all for None.

    Raises DumpError where it is a file.
    """

    def __init__(self, path: Path, on: str, kind: str, keep: int | None, overwrite: bool) -> None:
        if path.exists() and not path.is_dir():
            raise DumpError(f"{path} is a file, and the dumps need a folder")
        self.path = path
        self._on, self._kind, self._keep, self._overwrite = on, kind, keep, overwrite
        self._files: deque[list[Path]] = deque()

    def begin(self, initial_epoch: int) -> None:
        """Make the folder; raises DumpError for what an earlier training left in it, or removes it to overwrite."""
        self._files.clear()
        claim_folder(self.path, self._on, self._kind, initial_epoch, self._overwrite)

    def dump_path(self, number: int) -> Path:
        """Return the path of the dump at an interval."""
        return self.path / dump_name(self._on, number, self._kind)

    def check(self) -> None:
        """Raise DumpError where the folder is gone."""
        if not self.path.is_dir():
            raise DumpError(f"the folder {self.path} is gone")

    def add(self, files: list[Path]) -> list[str]:
        """Note a dump and what belongs to it, and remove those that are too many; return what could not be removed."""
        self._files.append(files)
        problems = []
        while self._keep is not None and len(self._files) > self._keep:
            for old in self._files.popleft():
                try:
                    old.unlink(missing_ok=True)
                except OSError as cause:
                    problems.append(f"cannot remove {old}: {cause.strerror}")
        return problems
