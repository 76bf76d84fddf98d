"""Colors: what is no number stands apart for every eye, nothing is cut off, and no spike is lost by shrinking."""

import matplotlib
import numpy as np
import pytest
from matplotlib.colors import to_rgb

from tfdump.plots.colors import INF_COLOR, NAN_COLOR, Scale, diverging_map, scale_of, sequential_map, shrunk_matrix

EYES = {
    "normal": np.eye(3),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "tritanopia": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]
    ),
}
"""What colors become on linear RGB (Machado, Oliveira and Fernandes 2009, severity 1)."""


TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.072175], [0.0193339, 0.119192, 0.9503041]]
)


def colors_seen_by(colors: object, eye: str) -> np.ndarray:
    """CIELAB of sRGB colors as an eye sees them."""
    rgb = np.atleast_2d(np.asarray(colors, float))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    linear = np.clip(linear @ EYES[eye].T, 0, 1)
    xyz = linear @ TO_XYZ.T / np.array([0.95047, 1, 1.08883])
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], axis=-1)


@pytest.mark.parametrize("eye", EYES)
@pytest.mark.parametrize("color", [NAN_COLOR, INF_COLOR])
def test_what_is_no_number_has_a_color_far_from_both_maps(eye: str, color: str) -> None:
    for color_map in (sequential_map(), diverging_map()):
        shades = colors_seen_by(color_map(np.linspace(0, 1, 300))[:, :3], eye)
        assert np.linalg.norm(shades - colors_seen_by(to_rgb(color), eye), axis=1).min() > 25


def test_red_would_not_do() -> None:
    """So that the test above can fail."""
    shades = colors_seen_by(sequential_map()(np.linspace(0, 1, 300))[:, :3], "deuteranopia")
    assert np.linalg.norm(shades - colors_seen_by(to_rgb("red"), "deuteranopia"), axis=1).min() < 25


@pytest.mark.parametrize("eye", ["normal", "protanopia", "deuteranopia"])
def test_the_lightness_tells_the_value(eye: str) -> None:
    """From low to high in the sequential map, from the middle to both ends in the diverging one."""
    assert (np.diff(colors_seen_by(sequential_map()(np.linspace(0, 1, 60))[:, :3], eye)[:, 0]) > 0).all()
    half = np.linspace(0.5, 1, 30)
    for arm in (half, 1 - half):
        assert (np.diff(colors_seen_by(diverging_map()(arm)[:, :3], eye)[:, 0]) < 0).all()


def test_values_of_one_sign_take_the_whole_sequential_map() -> None:
    values = np.array([[0.5, 1.0], [2.0, 4.5]])
    scale = scale_of(values)
    assert scale == Scale(0.5, 4.5, False)
    expected = matplotlib.colormaps["viridis"]((values - 0.5) / 4, bytes=True)
    np.testing.assert_array_equal(scale.colors(values), expected)


def test_values_of_both_signs_are_centered_at_zero() -> None:
    scale = scale_of(np.array([-1.0, 0.25, np.nan, np.inf]))
    assert scale == Scale(-1.0, 1.0, True)
    colors = scale.colors(np.array([0.0, -1.0, 1.0, np.nan, np.inf, -np.inf]))
    assert colors[0, :3].min() > 235, "zero is white"
    assert colors[1].tolist() != colors[2].tolist()
    assert [c.tolist() for c in colors[3:]] == [[255, 0, 255, 255], [0, 0, 0, 255], [0, 0, 0, 255]]


@pytest.mark.parametrize("values", [np.full(4, 2.5), np.zeros(3), np.full(3, np.nan), np.full(2, -7.0), np.zeros(0)])
def test_constants_and_nothing_finite_have_a_scale_and_a_bar(values: np.ndarray) -> None:
    scale = scale_of(values)
    assert np.isfinite([scale.low, scale.high]).all()
    assert scale.colors(values).shape == (*values.shape, 4)
    norm = scale.mappable().norm
    assert norm.vmin < norm.vmax


def test_pictures_that_share_limits_have_one_scale() -> None:
    assert scale_of(np.array([1.0, 2.0]), limits=(-3.0, 5.0)) == Scale(-5.0, 5.0, True)


def test_shrinking_keeps_the_extreme_of_every_block() -> None:
    values = np.random.default_rng(3).normal(size=(10, 7))
    small = shrunk_matrix(values, 4, 3)
    assert small.shape == (4, 3)
    for row in range(4):
        for column in range(3):
            block = values[row * 3 : row * 3 + 3, column * 3 : column * 3 + 3].ravel()
            assert small[row, column] == block[np.argmax(np.abs(block))]


def test_shrinking_keeps_nan_before_infinities_before_numbers() -> None:
    row = np.array([[1e300, np.nan, np.inf, 5.0, -np.inf, 7.0, 0.0, -9.0]])
    np.testing.assert_array_equal(shrunk_matrix(row, 1, 4), [[np.nan, np.inf, -np.inf, -9.0]])
    assert shrunk_matrix(row, 9, 9) is row
