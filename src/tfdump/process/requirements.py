"""Which packages tfdump needs, in which versions, and what to say where others are installed.

Nothing of them is imported for that. The versions are those of `pyproject.toml`.
"""

import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Requirement:
    """A package: from version `lowest` on, and before version `below` where there is a limit.

    Only with `extra` is it an optional one.
    """

    package: str
    title: str
    lowest: str
    below: str | None = None
    extra: bool = False

    def __str__(self) -> str:
        """Return how the package is called, and its versions: `Keras 3.15.1 to 3.15.x`."""
        if self.below is None:
            return f"{self.title} {self.lowest} or newer"
        *major, minor = _numbers(self.below)
        last = ".".join(map(str, [*major, minor - 1]))
        return f"{self.title} {self.lowest} to {last}.x"

    @property
    def specifier(self) -> str:
        """What `pip install` takes."""
        return f"{self.package}>={self.lowest}" + (f",<{self.below}" if self.below else "")

    def allows(self, found: str) -> bool:
        """Tell whether a version is one of those."""
        numbers = _numbers(found)
        return numbers >= _numbers(self.lowest) and (self.below is None or numbers < _numbers(self.below))


REQUIREMENTS = {
    requirement.package: requirement
    for requirement in (
        Requirement("tensorflow", "TensorFlow", "2.18", "2.23"),
        Requirement("keras", "Keras", "3.15.1", "3.16"),
        Requirement("numpy", "NumPy", "1.26"),
        Requirement("h5py", "h5py", "3.12.1"),
        Requirement("click", "Click", "8.4"),
        Requirement("rich", "Rich", "13"),
        Requirement("cloup", "Cloup", "4"),
        Requirement("hdf5plugin", "hdf5plugin", "5", extra=True),
        Requirement("zstandard", "zstandard", "0.22", extra=True),
        Requirement("matplotlib", "Matplotlib", "3.9", extra=True),
    )
}
"""By the name of the package, which is that of its module too."""

STACK = ("tensorflow", "keras")
"""What runs models."""


def complaint(packages: Iterable[str]) -> str | None:
    """Return the line that says which of some packages is missing or has another version, or None.

    A package whose version nobody knows is taken to be right.
    """
    wrong = []
    for requirement in map(REQUIREMENTS.__getitem__, packages):
        found = installed_version(requirement.package)
        if found is None:
            wrong.append((requirement, "which is not installed"))
        elif found and not requirement.allows(found):
            wrong.append((requirement, f"found {found}"))
    if not wrong:
        return None
    needed = ", and ".join(f"{requirement}, {what}" for requirement, what in wrong)
    install = " ".join(f"'{requirement.specifier}'" for requirement, _ in wrong)
    return f"tfdump needs {needed} (pip install {install})"


def complaint_behind(error: BaseException) -> str | None:
    """Return the line for an error that another version of a package explains, or one that is missing; or None.

    What is installed and not in use explains nothing.
    """
    missing = (error.name or "").partition(".")[0] if isinstance(error, ModuleNotFoundError) else ""
    in_use = {missing, *sys.modules, "click"}  # the command line may have failed to import that one
    return complaint(package for package in REQUIREMENTS if package in in_use)


def installed_version(package: str) -> str | None:
    """Return the version of a package: of what is imported, else of what is installed.

    None where it is not there; empty where it is, and does not tell its version.
    """
    from importlib.metadata import PackageNotFoundError, version
    from importlib.util import find_spec

    module = sys.modules.get(package)
    found = getattr(module, "__version__", None) if package != "click" else None  # Click warns of being asked
    if isinstance(found, str):
        return found
    try:
        return version(package)
    except PackageNotFoundError:  # a build of another name, as tensorflow-cpu, or nothing
        return "" if module is not None or find_spec(package) is not None else None


def _numbers(text: str) -> tuple[int, ...]:
    found = re.match(r"\d+(\.\d+)*", text)
    return tuple(map(int, found[0].split("."))) if found else ()
