"""The pictures that each mode of `tfdump plot` draws and writes."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from tfdump.address import Selection
from tfdump.cli.reading.example_option import row_of_example
from tfdump.dump.reader import Dump, Tensor, open_dump
from tfdump.dump.selection import choose, tensor_at
from tfdump.dump.target import check_target, write_complete_file
from tfdump.errors import TfdumpError
from tfdump.plots.companion_files import overlay_of, tokens_of
from tfdump.plots.drawing import picture_of, picture_of_loss
from tfdump.plots.figure import Caption
from tfdump.plots.file_names import default_file, distinct_names, stem_of
from tfdump.plots.kinds import Kind
from tfdump.plots.pictures.divergence import divergence_figure
from tfdump.plots.pictures.flow import flow_figure
from tfdump.plots.saving import check_picture, save_picture
from tfdump.plots.view_options import ViewOptions
from tfdump.tensors import Note

LOSS = "loss"


@dataclass(frozen=True)
class Job:
    """What to draw, the kind of picture, and its file; for a comparison, `address` is the other dump."""

    dump: Path
    address: str | None
    selection: Selection
    kind: Kind | None
    output: Path | None
    ending: str
    force: bool
    note: Note

    def target(self, stem: str, *sources: Path) -> Path:
        """Return the file to write; raises TfdumpError where it may not be written."""
        target = self.output or default_file(stem, self.ending)
        check_picture(target, self.force, [self.dump, *sources])
        return target

    def tell(self, lines: tuple[str, ...]) -> None:
        """Print notes."""
        for line in lines:
            self.note(line)


def of_one(job: Job, choices: dict[str, Any]) -> Iterator[Path]:
    """Draw one tensor, or the loss; yield the file."""
    assert job.address is not None
    with open_dump(job.dump) as dump:
        of_loss = job.address == f"/{LOSS}" or (job.address == LOSS and LOSS not in dump)
        tensor = None if of_loss else tensor_at(dump, job.address)
        kind = job.kind.value if job.kind else None
        target = job.target(LOSS if tensor is None else stem_of(tensor.group, tensor.address, kind))
        if tensor is None:
            picture = picture_of_loss(dump)
        else:
            picture = picture_of(dump, tensor, job.kind, _view(choices, dump, tensor))
        ignored = [f"this picture does not use {option}, which is ignored" for option in picture.ignored]
        job.tell((*picture.notes, *ignored))
        save_picture(picture.figure, target.resolve(), job.force)
    yield target


def of_all(job: Job, choices: dict[str, Any]) -> Iterator[Path]:
    """Draw every tensor that a picture can show, into a folder; notes give the reason for the others."""
    folder = job.output
    assert folder is not None
    with open_dump(job.dump) as dump:
        tensors = _selected_tensors(dump, job.selection)
        kind = job.kind.value if job.kind else None
        view = _view(choices, dump, None)
        stems = distinct_names(stem_of(tensor.group, tensor.address, kind) for tensor in tensors)
        targets = [folder / f"{stem}.{job.ending}" for stem in stems]
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise TfdumpError(f"cannot make the folder {folder}: {error.strerror}") from None
        for target in targets:
            check_picture(target, job.force)
        count = 0
        for tensor, target in zip(tensors, targets, strict=True):
            try:
                picture = picture_of(dump, tensor, job.kind, view)
            except TfdumpError as error:
                job.note(f"not drawn: {error}")
                continue
            job.tell(tuple(f"{tensor.group}/{tensor.address}: {line}" for line in picture.notes))
            save_picture(picture.figure, target.resolve(), job.force)
            count += 1
            yield target
        if not count:
            raise TfdumpError(f"no selected tensor of {dump.name} can be drawn (the notes above give the reasons)")


def of_flow(job: Job) -> Iterator[Path]:
    """Draw gradient norms, or the scale of activations, along the depth."""
    from tfdump.statistics.depth import depth_of

    target = job.target(f"{job.dump.stem}.flow")
    with open_dump(job.dump) as dump:
        names = {(tensor.group, tensor.address) for tensor in _selected_tensors(dump, job.selection)}
        caption = Caption(job.dump.name, (f"model {dump.attributes.get('model', '?')}",))
        figure, lines = flow_figure(depth_of(dump, names), caption)
    job.tell(lines)
    save_picture(figure, target.resolve(), job.force)
    yield target


def of_diff(job: Job) -> Iterator[Path]:
    """Draw the error of every tensor of two dumps along the depth."""
    from tfdump.comparison.diff import compare
    from tfdump.comparison.options import DiffOptions

    assert job.address is not None
    if job.selection.max_depth is not None:
        raise click.UsageError("--depth belongs to --all and --flow (select tensors with -l and -x)")
    other = Path(job.address)
    target = job.target(f"{job.dump.stem}.diff", other)
    layers = tuple(pattern.text for pattern in job.selection.layers)
    exclude = tuple(pattern.text for pattern in job.selection.exclude)
    report = compare(job.dump, other, DiffOptions(layers=layers, exclude=exclude))
    figure, lines = divergence_figure(report, Caption(f"{job.dump.name} and {other.name}"))
    job.tell((*lines, report.summary))
    save_picture(figure, target.resolve(), job.force)
    yield target


def of_folder(job: Job, scale: bool, animation: Path | None, choices: dict[str, Any]) -> Iterator[Path]:
    """Draw a tensor over a training, or an animation with one frame per dump."""
    from tfdump.dump.series import open_series
    from tfdump.plots.pictures.training import over_training

    assert job.address is not None
    series = open_series(job.dump)
    if animation is not None:
        if animation.suffix.lower() != ".gif":
            raise TfdumpError(f"'{animation.name}' does not end in .gif (an animation is a GIF: --animate FILE.gif)")
        from tfdump.plots.animation import animation_of

        check_target(animation, job.force)
        with series.dumps[0].open() as dump:
            view = _view(choices, dump, None)
        data, lines = animation_of(series, job.address, job.kind, view)
        job.tell(lines)
        write_complete_file(data, animation.resolve(), job.force)
        yield animation
        return
    group, _, address = job.address.rpartition("/")
    target = job.target(stem_of(group or "activations", address, "flow" if scale else "training"))
    picture = over_training(series, job.address, scale)
    job.tell(picture.notes)
    save_picture(picture.figure, target.resolve(), job.force)
    yield target


def _selected_tensors(dump: Dump, selection: Selection) -> list[Tensor]:
    """Return the selected tensors; raises TfdumpError where there are none."""
    if not len(dump):
        raise TfdumpError(f"{dump.name} holds no tensors")
    return choose(dump, selection)


def _view(choices: dict[str, Any], dump: Dump, tensor: Tensor | None) -> ViewOptions:
    """Return the options as a record, with the files that they name; `tensor` is None for several tensors."""
    options = {**choices, "example": row_of_example(dump, choices["example"])}
    tokens, overlay = options.pop("tokens"), options.pop("overlay")
    if overlay is not None and tensor is None:
        raise click.UsageError("--overlay belongs to one saliency map (give its ADDRESS)")
    return ViewOptions(
        **options,
        tokens=None if tokens is None else tokens_of(tokens),
        overlay=None if overlay is None or tensor is None else overlay_of(overlay, tensor, options["example"] or 0),
    )
