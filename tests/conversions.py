"""Convert every layer in every place to TFLite, and judge the addresses of the tensors.

    python tests/conversions.py [--like] [--untrained] [RANK ...]      # minutes

With --like, the Keras model names the tensors. With --untrained, biases are zero and statistics are those of new
layers, which leaves fewer names. Prints how many tensors are what their layer gives, which are not, and how many layers
have no tensor.
"""

import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

from support import converted_models
from support.converted_models import LAYERS, branches, converted


def main(ranks: Iterable[int], like: bool, untrained: bool) -> int:
    """Judge every layer in every place; return the exit status."""
    made = converted_models.untrained if untrained else converted_models.randomized
    wrong = 0
    for rank in ranks:
        names = list(LAYERS[rank])
        for place in ("next", "relu", "last"):
            for first in range(0, len(names), 20):
                with tempfile.TemporaryDirectory() as folder:
                    model = branches(rank, names[first : first + 20], place, made)
                    verdict = converted(model, Path(folder), like)
                wrong += len(verdict.wrong)
                counts = f"{len(verdict.right):4} right {len(verdict.missing):4} without a tensor"
                print(f"{rank} {place:5} {counts} {' '.join(sorted(verdict.wrong))}", flush=True)
    print(f"{wrong} wrong")
    return int(bool(wrong))


if __name__ == "__main__":
    chosen = [int(rank) for rank in sys.argv[1:] if not rank.startswith("--")]
    sys.exit(main(chosen or sorted(LAYERS), "--like" in sys.argv, "--untrained" in sys.argv))
