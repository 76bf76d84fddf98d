"""A part of a model of any format as a file, or the whole model."""

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfdump.address import split
from tfdump.dump.layout import ACTIVATIONS, INPUTS
from tfdump.model.cutting.records import PartInput, UncutModel
from tfdump.model.loading.formats import ONNX, TFLITE
from tfdump.model.runnable import FixedModel, RunnableProbe

if TYPE_CHECKING:
    from tfdump.model.loading.loaded_model import LoadedModel
    from tfdump.model.onnx.model import OnnxModel, OnnxProbe
    from tfdump.model.tflite.interpreter import LiteModel, LiteProbe


@dataclass(frozen=True)
class ProbedModel:
    """A model that was loaded and run: `loaded` is the model, and `probe` what returns its tensors."""

    loaded: "LoadedModel"
    probe: RunnableProbe

    def place(self, group: str, address: str) -> int:
        """Return the place of a tensor among those of the probe."""
        output = group != ACTIVATIONS
        places = (n for n, one in enumerate(self.probe.probed) if one.is_output == output)
        return next(place for place in places if self.probe.probed[place].info.address == address)

    @property
    def reads(self) -> dict[str, tuple[str, ...] | None]:
        """The addresses of the tensors that each layer call reads, by the address of the tensor that it makes."""
        return {one.info.address: one.info.inputs for one in self.probe.probed if not one.is_output}


def write_part(model: ProbedModel, inputs: Sequence[PartInput], target: int, stem: Path) -> Path:
    """Write the part of a model that computes one of its tensors from others.

    Parameters
    ----------
    model : ProbedModel
        The model.
    inputs : sequence of PartInput
        The inputs of the part.
    target : int
        The place of the tensor among those of the probe.
    stem : Path
        The path of the file without its ending.

    Returns
    -------
    Path
        The file: `.keras`, `.onnx` or `.tflite`.

    Raises
    ------
    UncutModel
        Where the model cannot be cut there; the text is the reason.

    """
    if not isinstance(model.loaded.model, FixedModel):
        return _write_keras(model, inputs, target, stem)
    ways: Mapping[str, Callable[..., Path]] = {ONNX: _write_onnx, TFLITE: _write_tflite}
    way = ways.get(model.loaded.model.class_name)
    if way is None:
        raise UncutModel(f"it is {model.loaded.model.in_words}")
    return way(model, inputs, target, stem)


def _write_keras(model: ProbedModel, inputs: Sequence[PartInput], target: int, stem: Path) -> Path:
    from tfdump.model.cutting.keras_file import save_keras
    from tfdump.model.cutting.keras_part import cut_keras

    info = model.probe.probed[target].info
    address = info.address
    if model.probe.probed[target].is_output:
        if len(info.inputs or ()) != 1:
            raise UncutModel(f"the output '{address}' is not the output of one layer")
        (address,) = info.inputs or ()
    loaded = model.loaded
    safe = bool(loaded.sha256) and not loaded.trusted
    reads = {split(own)[0]: read for own, read in model.reads.items()}
    part = cut_keras(loaded.model, inputs, address, reads, loaded.custom, safe_mode=safe)
    path = stem.with_name(f"{stem.name}.keras")
    save_keras(part, path)
    return path


def _write_onnx(model: ProbedModel, inputs: Sequence[PartInput], target: int, stem: Path) -> Path:
    from tfdump.model.cutting.onnx_part import cut_onnx

    onnx: OnnxModel = model.loaded.model
    probe: OnnxProbe = model.probe  # type: ignore[assignment] # the probe of an ONNX model
    by_name = {name: tensor for tensor, name in onnx.input_names.items()}
    tensors = [_source(model, one, by_name, probe.tensor_name) for one in inputs]
    output = onnx.session.outputs[probe.tensor_name(target)]
    data = cut_onnx(onnx.path.read_bytes(), onnx.path.parent, inputs, tensors, output)
    path = stem.with_name(f"{stem.name}.onnx")
    path.write_bytes(data)
    return path


def _write_tflite(model: ProbedModel, inputs: Sequence[PartInput], target: int, stem: Path) -> Path:
    from tfdump.model.cutting.tflite_part import cut_tflite

    lite: LiteModel = model.loaded.model
    probe: LiteProbe = model.probe  # type: ignore[assignment] # the probe of a TFLite model
    by_name = dict(lite.lite_signature.inputs)
    tensors = [_source(model, one, by_name, probe.tensor_number) for one in inputs]
    data = cut_tflite(
        lite.path.read_bytes(), lite.lite_signature.subgraph, inputs, tensors, probe.tensor_number(target)
    )
    path = stem.with_name(f"{stem.name}.tflite")
    path.write_bytes(data)
    return path


def _source(model: ProbedModel, one: PartInput, by_name: Mapping[str, Any], of: Callable[[int], Any]) -> Any:
    """Return the name or number in the file of the tensor that an input stands for."""
    name = one.source.removeprefix(f"{INPUTS}/")
    return by_name[name] if name != one.source else of(model.place(ACTIVATIONS, one.source))


def copy_model(model: "LoadedModel", path: Path | None, stem: Path, most_bytes: int) -> Path | None:
    """Copy a model, or save one that is in memory; return the copy, None where it takes more than `most_bytes`.

    Raises UncutModel for a model in memory that cannot be saved.
    """
    if path is None:
        from tfdump.model.cutting.keras_file import save_keras

        copied = stem.with_name(f"{stem.name}.keras")
        try:
            save_keras(model.model, copied)
        except (ValueError, TypeError, NotImplementedError, AttributeError) as cause:
            raise UncutModel(f"Keras cannot save it: {cause}") from cause
        return copied
    files = [path, *_beside(model, path)]
    if sum(map(_size, files)) > most_bytes:
        return None
    if path.is_dir():
        return Path(shutil.copytree(path, stem))
    copied = stem.with_name(f"{stem.name}{path.suffix}")
    shutil.copyfile(path, copied)
    for beside in files[1:]:
        place = stem.parent / os.path.relpath(beside, path.parent)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(beside, place)
    return copied


def _beside(model: "LoadedModel", path: Path) -> list[Path]:
    """Return the further files of a model."""
    if path.suffix != ".onnx" or not isinstance(model.model, FixedModel):
        return []
    from tfdump.model.onnx.model import files_of

    return files_of(model.model)  # type: ignore[arg-type] # an .onnx file


def _size(path: Path) -> int:
    return (
        sum(file.stat().st_size for file in path.rglob("*") if file.is_file()) if path.is_dir() else path.stat().st_size
    )


def path_from(path: Path, folder: Path) -> str:
    """Return the path of a model that was not copied, as seen from a folder."""
    return os.path.relpath(os.path.realpath(path), os.path.realpath(folder))
