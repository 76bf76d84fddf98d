"""Files of Python code that the user names."""

import sys
from pathlib import Path

import pytest

from tfdump.files.python_files import run_python_file


@pytest.fixture
def beside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of files that import a module beside them; what running them leaves behind is taken away again."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    for name in ("files_of_test", "beside_of_test", "run by test: json"):
        monkeypatch.setitem(sys.modules, name, None)  # type: ignore[arg-type]
        monkeypatch.delitem(sys.modules, name)
    (tmp_path / "beside_of_test.py").write_text("number = 7\n")
    return tmp_path


def test_a_file_is_a_module_that_imports_what_is_beside_it(beside: Path) -> None:
    path = beside / "files_of_test.py"
    path.write_text("from beside_of_test import number\n")
    module = run_python_file(path, "run by test")
    assert (module.number, module.__name__) == (7, "files_of_test")
    assert sys.modules["files_of_test"] is module


def test_a_file_does_not_replace_a_module_of_its_name(beside: Path) -> None:
    import json

    (beside / "json.py").write_text("number = 8\n")
    module = run_python_file(beside / "json.py", "run by test")
    assert (module.number, module.__name__) == (8, "run by test: json")
    assert sys.modules["json"] is json


def test_a_file_that_fails_leaves_nothing_behind(beside: Path) -> None:
    path, folders = beside / "files_of_test.py", list(sys.path)
    path.write_text("1 / 0\n")
    with pytest.raises(ZeroDivisionError):
        run_python_file(path, "run by test")
    assert "files_of_test" not in sys.modules
    assert sys.path == folders
