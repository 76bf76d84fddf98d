"""The digits as functions that give data: `--data sample_models/digits_data.py:batches`."""

from pathlib import Path

import numpy as np

HERE = Path(__file__).parent


def batches():
    """Yield images and labels, 32 at a time, as a training script does."""
    images, labels = np.load(HERE / "digits.npy"), np.load(HERE / "digits_labels.npy")
    for start in range(0, len(images), 32):
        yield images[start : start + 32], labels[start : start + 32]


def rows(start, stop):
    """Return the images from one number up to another, which needs no temporary file."""
    return np.load(HERE / "digits.npy", mmap_mode="r")[start:stop]


def brighter(images):
    """Return a batch of images with gray values of at least 0.1, for `--preprocess`."""
    return np.maximum(images, 0.1)
