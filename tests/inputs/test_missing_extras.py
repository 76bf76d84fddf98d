"""What is said where a library for a kind of data is not installed."""

import subprocess
import sys
from pathlib import Path

import pytest

CODE = """
import sys
sys.modules[sys.argv[1]] = None
from tfdump.errors import InputError
from tfdump.inputs.arguments import open_arguments
try:
    open_arguments([sys.argv[2]])
except InputError as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("library", "name", "message"),
    [
        ("pyarrow", "x.csv", "tables need an extra: pip install 'tfdump[tables]'"),
        ("pyarrow", "x.parquet", "tables need an extra: pip install 'tfdump[tables]'"),
        ("zarr", "x.zarr", ".zarr folders need an extra: pip install 'tfdump[zarr]'"),
        ("scipy", "x.mat", ".mat files before version 7.3 need an extra: pip install 'tfdump[mat]'"),
    ],
)
def test_one_line_says_what_to_install(tmp_path: Path, library: str, name: str, message: str) -> None:
    path = tmp_path / name
    if name.endswith(".zarr"):
        path.mkdir()
    else:
        path.write_text("a\n1\n")
    done = subprocess.run([sys.executable, "-c", CODE, library, path], capture_output=True, text=True)
    assert done.stdout == f"{message}\n", done.stderr


@pytest.mark.tensorflow
def test_presets_need_keras_hub() -> None:
    code = "import sys\nsys.modules['keras_hub'] = None\nimport tfdump.model.text_preset"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    last = "tfdump.errors.InputError: --preset needs an extra: pip install 'tfdump[presets]'"
    assert done.stderr.strip().endswith(last)


def test_arrays_need_none_of_them() -> None:
    code = "import sys, tfdump.inputs.arguments\nprint({'pyarrow', 'zarr', 'scipy', 'keras_hub'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "set()\n", done.stderr
