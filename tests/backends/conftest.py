"""The environments that `make test-backends` makes, and their interpreters."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from support.command import ROOT


@pytest.fixture(scope="session")
def python_with() -> Callable[[str], Path]:
    """Return the interpreter of an environment by its name, or of the one that TFDUMP_TEST_<NAME> names."""

    def find(name: str) -> Path:
        path = Path(os.environ.get(f"TFDUMP_TEST_{name.upper()}", ROOT / f".venv-{name}" / "bin" / "python"))
        if not path.exists():
            pytest.skip(f"{path} is not there (make test-backends)")
        return path

    return find
