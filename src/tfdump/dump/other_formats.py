"""Recognizes a file that was passed as a dump and is not one, and says what to do with it.

Only names and the first bytes are looked at.
"""

from pathlib import Path

import h5py

from tfdump.dump.layout import FORMAT
from tfdump.dump.shards.manifest import is_shard_folder
from tfdump.errors import DumpError
from tfdump.files.formats import KERAS_CONFIG, KERAS_WEIGHTS, ONNX_SUFFIX, SAVED_MODEL_GRAPH, Mark, mark_of
from tfdump.files.hdf5 import damage, has_link, open_hdf5
from tfdump.files.paths import as_argument, check_path

_DUMP_FIRST = "dump it first: tfdump activations {}"
_MOST_COUNTED = 10_000


def is_dump(path: Path) -> bool:
    """Tell whether a path is a dump or a folder of shards; raises DumpError for a damaged HDF5 file."""
    if is_shard_folder(path):
        return True
    if not path.is_file() or not h5py.is_hdf5(path):
        return False
    with open_hdf5(path, DumpError) as file, damage(DumpError, str(path)):
        return str(file.attrs.get("format")) == FORMAT


def refuse_other_formats(path: Path) -> None:
    """Raise DumpError for a folder, an empty file and files of other formats that tfdump knows."""
    check_path(path, "file", DumpError)
    if path.is_dir():
        refuse_model_folder(path)
        raise DumpError(f"{path} is a folder, not a dump")
    kind = _kind(path, mark_of(path, DumpError))
    if kind is not None:
        raise DumpError(f"{path} {kind}")


def refuse_models(path: Path) -> None:
    """Raise DumpError for a model, where arrays of other formats are accepted."""
    check_path(path, "file", DumpError)
    if path.suffix in (".keras", ".tflite", ONNX_SUFFIX) or path.is_dir():
        refuse_other_formats(path)


def refuse_model_folder(path: Path) -> None:
    """Raise DumpError for a folder that is a model."""
    if (path / SAVED_MODEL_GRAPH).exists() or (path / KERAS_WEIGHTS).exists():
        raise DumpError(f"{path} is a model, not a dump ({_DUMP_FIRST.format(as_argument(path))})")


def _kind(path: Path, mark: Mark) -> str | None:
    if mark is Mark.EMPTY:
        return "is empty, not a dump"
    if mark is Mark.NPY:
        return "is an array (.npy), not a dump"
    if path.suffix == ONNX_SUFFIX and mark is Mark.OTHER:
        return f"is an .onnx model, not a dump ({_DUMP_FIRST.format(as_argument(path))})"
    if mark is Mark.TFLITE:
        return f"is a .tflite model, not a dump ({_DUMP_FIRST.format(as_argument(path))})"
    return _kind_of_archive(path) if mark is Mark.ZIP else None


def _kind_of_archive(path: Path) -> str:
    import zipfile

    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError):
        return "is a damaged zip archive, not a dump"
    if KERAS_WEIGHTS in names or KERAS_CONFIG in names:
        return f"is a Keras model, not a dump ({_DUMP_FIRST.format(as_argument(path))})"
    arrays = sum(name.endswith(".npy") for name in names)
    return f"is an archive of {arrays} arrays (.npz), not a dump" if arrays else "is a zip archive, not a dump"


def kind_of_hdf5(file: h5py.File) -> str:
    """Return what an HDF5 file is that tfdump did not write, without following links out of the file."""
    if "model_config" in file.attrs:
        return "it is a whole Keras model (dump it first: tfdump activations)"
    if "layer_names" in file.attrs or has_link(file, "_layer_checkpoint_dependencies"):
        return "it holds the weights of a Keras model"
    if has_link(file, "layers") and (has_link(file, "vars") or has_link(file, "optimizer")):
        return "it holds the weights of a Keras model"
    count = 0

    def count_datasets(_: bytes, info: h5py.h5o.ObjInfo) -> bool | None:
        nonlocal count
        count += info.type == h5py.h5o.TYPE_DATASET
        return True if count >= _MOST_COUNTED else None

    h5py.h5o.visit(file.id, count_datasets, info=True)  # follows hard links only, and opens no object
    more = " or more" if count >= _MOST_COUNTED else ""
    return f"it holds {count}{more} dataset{'' if count == 1 else 's'} of something else"
