"""The packages and versions that tfdump needs, and the message when others are installed.

Nothing is imported for that. The versions are those of `pyproject.toml`.
"""

import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Requirement:
    """A package, as its module is called, with its lowest version and perhaps the version that it must be below.

    `extra` tells that the package is optional. `installed_as` is what `pip` calls it, where that is another name.
    """

    package: str
    title: str
    lowest: str
    below: str | None = None
    extra: bool = False
    installed_as: str | None = None

    def __str__(self) -> str:
        """Return the name of the package and its versions: `Keras 3.15.1 to 3.15.x`."""
        if self.below is None:
            return f"{self.title} {self.lowest} or newer"
        *major, minor = _numbers(self.below)
        last = ".".join(map(str, [*major, minor - 1]))
        return f"{self.title} {self.lowest} to {last}.x"

    @property
    def distribution(self) -> str:
        """What `pip` calls the package."""
        return self.installed_as or self.package.replace("_", "-")

    @property
    def specifier(self) -> str:
        """The argument of `pip install`."""
        return f"{self.distribution}>={self.lowest}" + (f",<{self.below}" if self.below else "")

    def allows(self, version: str) -> bool:
        """Tell whether a version meets the requirement."""
        numbers = _numbers(version)
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
        Requirement("cloup", "Cloup", "3.1"),
        Requirement("hdf5plugin", "hdf5plugin", "5", extra=True),
        Requirement("zstandard", "zstandard", "0.22", extra=True),
        Requirement("matplotlib", "Matplotlib", "3.9", extra=True),
        Requirement("ai_edge_litert", "LiteRT", "2.1", extra=True),
        Requirement("onnxruntime", "ONNX Runtime", "1.20", extra=True),
        Requirement("PIL", "Pillow", "11", extra=True, installed_as="pillow"),
        Requirement("pyarrow", "PyArrow", "18", extra=True),
        Requirement("zarr", "Zarr", "3.1", extra=True),
        Requirement("scipy", "SciPy", "1.14.1", extra=True),
        Requirement("keras_hub", "KerasHub", "0.30", extra=True),
        Requirement("soundfile", "soundfile", "0.13", extra=True),
        Requirement("distributed", "Dask's distributed", "2026.1", extra=True),
        Requirement("cryptography", "cryptography", "43", extra=True),
    )
}
"""All requirements by the name of the package, which is also the name of its module."""

STACK = ("tensorflow", "keras")
"""The packages that run models."""


def complaint(packages: Iterable[str]) -> str | None:
    """Return a line that names the packages that are missing or have a wrong version, or None.

    A package that does not tell its version is taken to be right.
    """
    wrong = []
    for requirement in map(REQUIREMENTS.__getitem__, packages):
        version = installed_version(requirement.package)
        if version is None:
            wrong.append((requirement, "which is not installed"))
        elif version and not requirement.allows(version):
            wrong.append((requirement, f"found {version}"))
    if not wrong:
        return None
    needed = ", and ".join(f"{requirement}, {what}" for requirement, what in wrong)
    install = " ".join(f"'{requirement.specifier}'" for requirement, _ in wrong)
    return f"tfdump needs {needed} (pip install {install})"


def complaint_behind(error: BaseException) -> str | None:
    """Return the line that explains an error by a missing package or a wrong version, or None.

    Only packages that are in use can explain an error.
    """
    missing = (error.name or "").partition(".")[0] if isinstance(error, ModuleNotFoundError) else ""
    in_use = {missing, *sys.modules, "click"}  # the command line may have failed to import Click
    return complaint(package for package in REQUIREMENTS if package in in_use)


def installed_version(package: str) -> str | None:
    """Return the version of a package: of the imported module, or else of the installed distribution.

    None if it is not installed; "" if it is, but does not tell its version.
    """
    module = sys.modules.get(package)
    own_version = getattr(module, "__version__", None) if package != "click" else None  # Click warns when it is asked
    if isinstance(own_version, str):
        return own_version
    from importlib.metadata import PackageNotFoundError, version  # reads for 0.01 s, which imported modules spare
    from importlib.util import find_spec

    required = REQUIREMENTS.get(package)
    try:
        return version(package if required is None else required.distribution)
    except PackageNotFoundError:  # a build with another name, such as tensorflow-cpu, or nothing
        return "" if module is not None or find_spec(package) is not None else None


def _numbers(text: str) -> tuple[int, ...]:
    match = re.match(r"\d+(\.\d+)*", text)
    return tuple(map(int, match[0].split("."))) if match else ()
