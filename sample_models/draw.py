"""Draws small images of shapes into class folders, with the names that a camera would give them.

    python sample_models/draw.py FOLDER

Needs Pillow (`pip install .[images]`). The same images every time.
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

SHAPES = ("circle", "square", "triangle")
WIDTH, HEIGHT = 64, 48
OF_EACH = 5


def draw(shape, random):
    """One image of a shape anywhere on a background, with noise: uint8 (HEIGHT, WIDTH, 3)."""
    background, color = random.integers(0, 110, 3), random.integers(150, 256, 3)
    if random.random() < 0.5:
        background, color = color, background
    image = Image.new("RGB", (WIDTH, HEIGHT), tuple(int(value) for value in background))
    radius = random.uniform(10, 18)
    x, y = random.uniform(radius, WIDTH - radius), random.uniform(radius, HEIGHT - radius)
    pen, fill = ImageDraw.Draw(image), tuple(int(value) for value in color)
    if shape == "circle":
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill)
    else:
        sides = {"square": 4, "triangle": 3}[shape]
        pen.regular_polygon((x, y, radius), sides, rotation=int(random.integers(-15, 16)), fill=fill)
    noise = random.normal(0, 6, (HEIGHT, WIDTH, 3))
    return np.clip(np.asarray(image) + noise, 0, 255).astype("uint8")


def main():
    """Draws the images into the folder that is named."""
    random = np.random.default_rng(5)
    folder = Path(sys.argv[1])
    for label, shape in enumerate(SHAPES):
        (folder / shape).mkdir(parents=True, exist_ok=True)
        for number in range(OF_EACH):
            name = f"IMG_{1000 * (label + 1) + 7 * number:04}.jpg"
            Image.fromarray(draw(shape, random)).save(folder / shape / name, quality=90)


if __name__ == "__main__":
    main()
