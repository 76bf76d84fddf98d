"""The picture that a callback draws beside each of its dumps."""

from collections.abc import Sequence
from pathlib import Path

from tfdump.errors import DumpError, near
from tfdump.plots import need_matplotlib
from tfdump.plots.file_names import FLOW
from tfdump.tensors import PlannedTensor


class TrainingPicture:
    """A picture of the tensor `subject`, or of all layers where it is `flow`; raises DumpError without matplotlib."""

    def __init__(self, subject: str) -> None:
        need_matplotlib()
        self.subject = subject

    def check(self, planned: Sequence[PlannedTensor]) -> None:
        """Raise DumpError where the dumps will not have the tensor."""
        names = [name for tensor in planned for name in (tensor.info.address, f"{tensor.group}/{tensor.info.address}")]
        if self.subject not in (FLOW, *names):
            raise DumpError(
                f"picture '{self.subject}' is neither '{FLOW}' nor the address of a tensor of the dumps"
                f"{near(str(self.subject), names)}"
            )

    def draw(self, dump: Path) -> tuple[Path, list[str]]:
        """Draw the picture of a dump beside it; return the path of the file, and the notes on the picture."""
        from tfdump.plots.beside_dump import draw_beside

        path, notes = draw_beside(dump, self.subject)
        return path, [f"picture of '{self.subject}': {note}" for note in notes]
