"""Folders of images of every format, drawn by this module, and what Keras makes of them."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from PIL import Image


def drawn(height: int, width: int, seed: int, channels: int = 3) -> npt.NDArray[np.uint8]:
    """Smooth colors with some noise, which JPEG stores well and every resize changes."""
    random = np.random.default_rng(seed)
    rows, columns = np.mgrid[:height, :width]
    waves = [np.sin(rows / (3 + c) + seed) + np.cos(columns / (4 + c) - seed) for c in range(channels)]
    noise = random.normal(0, 8, (height, width, channels))
    return np.clip(np.stack(waves, -1) * 55 + 128 + noise, 0, 255).astype(np.uint8)


def save(path: Path, pixels: npt.NDArray[np.uint8], **options: Any) -> Path:
    """Store an image in the format of the ending of its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)
    return path


def class_folders(root: Path) -> Path:
    """A folder of 11 images in three classes, whose names sort differently with and without the slash behind them."""
    sizes = [(31, 47), (64, 48), (20, 90), (48, 48), (33, 33)]
    for place, name in enumerate(["cat/2.jpg", "cat/10.jpg", "cat/deep/1.png", "cat-big/a.jpg", "cat-big/B.PNG"]):
        save(root / name, drawn(*sizes[place], place))
    save(root / "dog/ä.bmp", drawn(25, 60, 5))
    save(root / "dog/x.gif", drawn(30, 40, 6))
    save(root / "dog/gray.jpeg", drawn(40, 30, 7, 1)[..., 0])
    save(root / "dog/gray.png", drawn(40, 30, 8, 1)[..., 0])
    save(root / "dog/alpha.png", drawn(40, 30, 9, 4))
    save(root / "dog/big.jpg", drawn(300, 200, 10), quality=60)
    return root


def from_directory(folder: Path, size: tuple[int, int], **options: Any) -> tuple[npt.NDArray[Any], list[str]]:
    """The images of `keras.utils.image_dataset_from_directory`, and their paths below the folder."""
    dataset = keras.utils.image_dataset_from_directory(
        folder, image_size=size, batch_size=None, shuffle=False, verbose=False, **options
    )
    images = np.stack([np.asarray(image, np.float32) for image, _ in dataset])
    return images, [str(Path(path).relative_to(folder)) for path in dataset.file_paths]
