"""The folder of the dumps of a training: dumps of an earlier training, and which dumps of this one stay."""

from collections import deque
from pathlib import Path

from tfdump.api.training_names import claim_folder, dump_name
from tfdump.errors import DumpError


class TrainingFolder:
    """The folder `path` of the dumps of one `kind` at intervals `on`; the `keep` latest dumps stay, or all for None.

    Raises DumpError where `path` is a file.
    """

    def __init__(self, path: Path, on: str, kind: str, keep: int | None, overwrite: bool) -> None:
        if path.exists() and not path.is_dir():
            raise DumpError(f"{path} is a file, and the dumps need a folder (choose another path)")
        self.path = path
        self._on, self._kind, self._keep, self._overwrite = on, kind, keep, overwrite
        self._files: deque[list[Path]] = deque()

    def begin(self, initial_epoch: int) -> None:
        """Create the folder; raises DumpError for dumps of an earlier training, or removes them to overwrite."""
        self._files.clear()
        claim_folder(self.path, self._on, self._kind, initial_epoch, self._overwrite)

    def dump_path(self, number: int) -> Path:
        """Return the path of the dump after so many epochs or batches."""
        return self.path / dump_name(self._on, number, self._kind)

    def check(self) -> None:
        """Raise DumpError where the folder does not exist any more."""
        if not self.path.is_dir():
            raise DumpError(f"the folder {self.path} is gone")

    def add(self, files: list[Path]) -> list[str]:
        """Add a dump and its picture, and remove the oldest beyond `keep`; return errors of files that stay."""
        self._files.append(files)
        problems = []
        while self._keep is not None and len(self._files) > self._keep:
            for old in self._files.popleft():
                try:
                    old.unlink(missing_ok=True)
                except OSError as cause:
                    problems.append(f"cannot remove {old}: {cause.strerror}")
        return problems
