"""What it costs to note the inputs of every tensor: listing the tensors of ResNet50, with and without.

    python benchmarks/data_flow.py

A listing traces the model once and runs nothing, so that the notes are the largest part of it that they can be. The
other is the same listing with the flow left out: no tensor is looked up and no graph is walked through. A SavedModel of
it is listed the same way. All in one process, loading apart.
"""

import contextlib
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from measure import Row, compare, contest_here, run_script

ROUNDS = 5


@contextlib.contextmanager
def without_flow() -> Iterator[None]:
    """Leave the inputs of every tensor out while the body runs."""
    from tfdump.model.operations.flow import GraphFlow
    from tfdump.model.recording.data_flow import DataFlow
    from tfdump.model.recording.patching import replaced

    def nothing(*arguments: Any) -> None:
        return None

    with contextlib.ExitStack() as stack:
        for owner, name in ((DataFlow, "add"), (DataFlow, "read_by"), (GraphFlow, "inputs"), (GraphFlow, "operands")):
            stack.enter_context(replaced(owner, name, nothing))
        yield


def listing(loaded: Any) -> float:
    """List the tensors of a model; return the seconds."""
    from tfdump.address import Selection
    from tfdump.run.layers import list_tensors

    start = time.perf_counter()
    list_tensors(loaded, (), Selection(), lambda text: None)
    return time.perf_counter() - start


def listing_without(loaded: Any) -> float:
    """The same without inputs."""
    with without_flow():
        return listing(loaded)


def race() -> list[Row]:
    """Race over ResNet50 as a Keras model and as a SavedModel."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import keras

    from tfdump.model.loading.load import in_memory, load_model

    model = keras.applications.ResNet50(weights=None)
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "resnet50"
        model.export(folder, verbose=False)
        formats = {"ResNet50": in_memory(model), "ResNet50 as a SavedModel": load_model(folder, trust=True)}
        for what, loaded in formats.items():
            routes: dict[str, Callable[[], float]] = {
                "with": lambda loaded=loaded: listing(loaded),
                "without": lambda loaded=loaded: listing_without(loaded),
            }
            samples = contest_here(routes, ROUNDS, warm_up=1)
            title = f"inputs of every tensor, {what}"
            rows.append(compare(title, samples["with"], "without them", samples["without"], goal=1.05))
    return rows


if __name__ == "__main__":
    run_script({}, race)
