"""On what a Keras model runs: the backend of Keras, and the Python whose environment has it."""

from dataclasses import dataclass

BACKENDS = ("tensorflow", "jax", "torch")


@dataclass(frozen=True)
class Backend:
    """A backend, and the path or name of a Python interpreter; None is the one that runs tfdump.

    `verbose` lets what the libraries write to stderr through.
    """

    name: str = BACKENDS[0]
    python: str | None = None
    verbose: bool = False

    @property
    def in_words(self) -> str:
        """The options of the command line."""
        python = "" if self.python is None else f" --backend-python {self.python}"
        return f"--backend {self.name}{python}"


def backend_of(name: str | None, python: str | None, verbose: bool = False) -> Backend | None:
    """Return the backend that two options name, None where the model runs in this process as always.

    That is so for TensorFlow, unless another interpreter is named.
    """
    if python is None and name in (None, BACKENDS[0]):
        return None
    return Backend(name or BACKENDS[0], python, verbose)
