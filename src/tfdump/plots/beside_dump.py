"""A picture beside each dump of a training."""

from pathlib import Path

from tfdump.dump.reader import Dump, open_dump
from tfdump.plots.drawing import picture_of
from tfdump.plots.figure import Caption
from tfdump.plots.file_names import FLOW, stem_of
from tfdump.plots.pictures.flow import flow_figure
from tfdump.plots.saving import save_picture
from tfdump.statistics.depth import depth_of


def draw_beside(path: Path, what: str) -> tuple[Path, tuple[str, ...]]:
    """Draw a tensor of a dump, or its flow, into a `.png` file beside it; return the file and notes for the user.

    An existing file is replaced. Raises TfdumpError for a tensor that no picture can show, or a file that cannot be
    written.
    """
    with open_dump(path) as dump:
        if what == FLOW:
            names = {(tensor.group, tensor.address) for tensor in dump.tensors()}
            figure, notes = flow_figure(depth_of(dump, names), Caption(path.name, (_moment(dump),)))
            name = FLOW
        else:
            tensor = dump[what]
            picture = picture_of(dump, tensor)
            figure, notes, name = picture.figure, picture.notes, stem_of(tensor.group, tensor.address)
    target = path.with_name(f"{path.name.removesuffix('.h5')}.{name}.png")
    save_picture(figure, target, force=True)
    return target, notes


def _moment(dump: Dump) -> str:
    numbers = {name: dump.attributes.get(name) for name in ("epoch", "batch")}
    return ", ".join(f"{name} {number:,}" for name, number in numbers.items() if number is not None)
