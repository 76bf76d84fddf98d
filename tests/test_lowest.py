"""The lowest versions are read as they stand in the project file."""

import subprocess
import sys

import pytest

from lowest import lowest, requirements_of_the_project
from support.command import ROOT


def test_the_lowest_version_of_every_package() -> None:
    assert lowest(["a>=1.2", "b-c>=3,<4.5", "a>=1.10"]) == {"a": "1.10", "b-c": "3"}


@pytest.mark.parametrize("requirement", ["a", "a==1", "a<2", "a[b]>=1", "a>=1; python_version < '3.12'"])
def test_a_requirement_without_one_is_refused(requirement: str) -> None:
    with pytest.raises(ValueError, match="has no lowest version"):
        lowest([requirement])


def test_the_project_can_be_printed_as_constraints() -> None:
    done = subprocess.run([sys.executable, ROOT / "tests" / "lowest.py"], capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert {line.partition("==")[0] for line in lines} >= {"tensorflow", "keras", "click", "pytest", "matplotlib"}
    assert len(lines) == len({item.partition(">=")[0] for item in requirements_of_the_project()})
