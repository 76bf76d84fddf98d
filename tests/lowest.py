"""Print the lowest version of every package that `pyproject.toml` allows, as constraints for pip: `make test-lowest`.

    python tests/lowest.py > lowest.txt && pip install --constraint lowest.txt --editable '.[dev]'

Packages that these bring along stay as new as they let them be.
"""

import re
import tomllib
from collections.abc import Iterable
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent / "pyproject.toml"
_LOWEST = re.compile(r"(?P<package>[A-Za-z0-9._-]+)>=(?P<version>[0-9][0-9.]*)(,<[0-9.]+)?")


def lowest(requirements: Iterable[str]) -> dict[str, str]:
    """Return the lowest version of each package; of two for one package, the higher one.

    Raises ValueError for a requirement that has no lowest version, or says it in another way than `a>=1` or `a>=1,<2`.
    """
    versions: dict[str, str] = {}
    for requirement in requirements:
        matched = _LOWEST.fullmatch(requirement)
        if matched is None:
            raise ValueError(f"'{requirement}' has no lowest version that this can read (write it as 'package>=1.2')")
        package, version = matched["package"], matched["version"]
        versions[package] = max(version, versions.get(package, version), key=_numbers)
    return versions


def requirements_of_the_project() -> list[str]:
    """Return what the package and all its extras need."""
    project = tomllib.loads(PROJECT.read_text())["project"]
    return project["dependencies"] + [line for extra in project["optional-dependencies"].values() for line in extra]


def _numbers(version: str) -> list[int]:
    return [int(number) for number in version.split(".")]


if __name__ == "__main__":
    for name, number in lowest(requirements_of_the_project()).items():
        print(f"{name}=={number}")
