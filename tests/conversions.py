"""Convert every layer in every place to TFLite, and judge the addresses of the tensors.

    python tests/conversions.py [RANK ...]      # minutes

Prints how many tensors are what their layer gives, which are not, and how many layers have no tensor.
"""

import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

from support.converted_models import LAYERS, branches, converted


def main(ranks: Iterable[int]) -> int:
    """Judge every layer in every place; return the exit status."""
    wrong = 0
    for rank in ranks:
        names = list(LAYERS[rank])
        for place in ("next", "relu", "last"):
            for first in range(0, len(names), 20):
                with tempfile.TemporaryDirectory() as folder:
                    verdict = converted(branches(rank, names[first : first + 20], place), Path(folder))
                wrong += len(verdict.wrong)
                counts = f"{len(verdict.right):4} right {len(verdict.missing):4} without a tensor"
                print(f"{rank} {place:5} {counts} {' '.join(sorted(verdict.wrong))}", flush=True)
    print(f"{wrong} wrong")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main([int(rank) for rank in sys.argv[1:]] or sorted(LAYERS)))
