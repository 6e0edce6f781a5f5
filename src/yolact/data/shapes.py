"""How one made-up object looks: its outline, its texture, its colours. No scenes, no files.

Points are x y pairs in the shape's own frame: its reach is about 1 from the origin, x to the right
and y down; ``u`` and ``v`` name that frame's coordinates where a texture is asked for. Colours are
BGR in [0, 1], as OpenCV stores them.
"""

import colorsys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Points = NDArray[np.float64]  # (N, 2)


# --- Outlines: the outer one, then the holes -----------------------------------------------------


def _polar(radii: NDArray[Any]) -> Points:
    """Points at these radii (N,), at equal angles around the origin, the first one upwards."""
    angle = np.arange(len(radii)) * (2 * np.pi / len(radii))
    points: Points = np.stack([np.sin(angle), -np.cos(angle)], axis=1) * radii[:, None]
    return points


def _rounded(corners: Points) -> Points:
    """The polygon with its corners cut off twice (Chaikin)."""
    for _ in range(2):
        following = np.roll(corners, -1, axis=0)
        near, far = 0.88 * corners + 0.12 * following, 0.12 * corners + 0.88 * following
        corners = np.stack([near, far], axis=1).reshape(-1, 2)
    return corners


def _disc(rng: Generator) -> list[Points]:
    return [_polar(np.ones(48)) * (1, rng.uniform(0.85, 1))]


def _ring(rng: Generator) -> list[Points]:
    outer = _polar(np.ones(60))
    return [outer, outer * rng.uniform(0.5, 0.64)]


def _frame(rng: Generator) -> list[Points]:
    half = np.array([0.9, rng.uniform(0.65, 0.9)])
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]], dtype=np.float64)
    return [corners * half, corners * (half - rng.uniform(0.22, 0.3))]


def _star(rng: Generator) -> list[Points]:
    return [_rounded(_polar(np.tile([1.08, rng.uniform(0.44, 0.52)], 5)))]


def _cross(rng: Generator) -> list[Points]:
    arm = rng.uniform(0.28, 0.36)
    quarter = np.array([[-arm, -1], [arm, -1], [arm, -arm]])
    turn = np.array([[0.0, 1.0], [-1.0, 0.0]])
    return [_rounded(np.concatenate([quarter @ np.linalg.matrix_power(turn, i) for i in range(4)]))]


def _triangle(rng: Generator) -> list[Points]:
    return [_rounded(_polar(np.full(3, 1.15)) * (1, rng.uniform(0.85, 1.1)))]


def _gear(rng: Generator) -> list[Points]:
    tooth = np.array([0.76, 0.76, 0.76, 1, 1, 1])
    hole = np.full(36, rng.uniform(0.3, 0.42))
    return [_polar(np.tile(tooth, rng.integers(8, 12))), _polar(hole)]


def _leaf(rng: Generator) -> list[Points]:
    x = np.linspace(-1, 1, 32)
    y = rng.uniform(0.42, 0.55) * np.cos(x * np.pi / 2) ** 0.8 * (1 - 0.25 * x)
    upper = np.stack([x, -y], axis=1)
    return [np.concatenate([upper, (upper * (1, -1))[::-1]])]


def _heart(rng: Generator) -> list[Points]:
    t = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    y = 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)
    return [np.stack([16 * np.sin(t) ** 3 * rng.uniform(0.9, 1.05), -y - 2], axis=1) / 16]


def _rope(rng: Generator) -> list[Points]:
    x = np.linspace(-1, 1, 40)
    y = rng.uniform(-0.25, 0.25) * x**2 + rng.uniform(-0.12, 0.12) * np.sin(np.pi * x)
    line = np.stack([x, y], axis=1)
    along = np.gradient(line, axis=0)
    across = along[:, ::-1] * (-1, 1) / np.linalg.norm(along, axis=1, keepdims=True)
    half_width = rng.uniform(0.045, 0.06)
    return [np.concatenate([line + half_width * across, (line - half_width * across)[::-1]])]


# --- Textures: how much of the second colour at each u v, from 0 to 1 ----------------------------


def _sharp(wave: Floats) -> Floats:
    """A wave around 0 as soft-edged bands of 0 and 1."""
    bands: Floats = np.clip(0.5 + 2.5 * wave, 0, 1)
    return bands


def _dots(u: Floats, v: Floats, rng: Generator) -> Floats:
    step = rng.uniform(5.5, 7.5)
    return _sharp(np.cos(step * u) * np.cos(step * v) - 0.45)


def _spokes(u: Floats, v: Floats, rng: Generator) -> Floats:
    return _sharp(np.sin(int(rng.integers(4, 6)) * np.arctan2(v, u)))


def _grain(u: Floats, v: Floats, rng: Generator) -> Floats:
    bend = 2 * np.sin(3 * u + rng.uniform(0, 6))
    grain: Floats = 0.5 + 0.5 * np.sin(rng.uniform(14, 20) * v + bend)
    return grain


def _gradient(u: Floats, v: Floats, rng: Generator) -> Floats:
    faded: Floats = np.clip(0.5 + rng.uniform(0.5, 0.8) * v, 0, 1)
    return faded


def _checks(u: Floats, v: Floats, rng: Generator) -> Floats:
    step = rng.uniform(8, 10)
    return _sharp(3 * np.sin(step * u) * np.sin(step * v))


def _stripes(u: Floats, v: Floats, rng: Generator) -> Floats:
    return _sharp(np.sin(rng.uniform(8, 12) * v + rng.uniform(0, 6)))


def _brushed(u: Floats, v: Floats, rng: Generator) -> Floats:
    sheen = np.sin(2 * np.arctan2(v, u) + rng.uniform(0, 6))
    brushed: Floats = 0.5 + 0.5 * sheen * np.cos(20 * np.hypot(u, v))
    return brushed


def _veins(u: Floats, v: Floats, rng: Generator) -> Floats:
    side = np.sin(rng.uniform(11, 15) * (u + 0.8 * np.abs(v))) - 0.8
    return _sharp(np.maximum(side, 0.4 - 8 * np.abs(v)))


def _gloss(u: Floats, v: Floats, rng: Generator) -> Floats:
    highlight: Floats = np.exp(-rng.uniform(4, 8) * ((u + 0.4) ** 2 + (v + 0.4) ** 2))
    return highlight


def _twist(u: Floats, v: Floats, rng: Generator) -> Floats:
    return _sharp(np.sin(rng.uniform(34, 42) * (u + 1.2 * v)))


# --- Kinds ---------------------------------------------------------------------------------------


def colour(hue: float, saturation: float, value: float) -> Floats:
    """BGR of a hue in degrees, a saturation and a value; too much of either is cut to 1."""
    red, green, blue = colorsys.hsv_to_rgb(hue / 360 % 1, min(saturation, 1), min(value, 1))
    return np.array([blue, green, red], dtype=np.float32)


@dataclass(frozen=True)
class Kind:
    """A class of objects."""

    name: str
    category_id: int
    outline: Callable[[Generator], list[Points]]
    """Draws the contours of one object: the outer one, then the holes."""
    texture: Callable[[Floats, Floats, Generator], Floats]
    """How much of the second colour is at each u v."""
    hue: tuple[float, float]
    """Degrees on the colour circle."""
    saturation: tuple[float, float]
    value: tuple[float, float]
    second: tuple[float, float]
    """What the texture's second colour multiplies saturation and value with."""

    def draw_colours(self, rng: Generator) -> Floats:
        """The two colours that the texture mixes, (2, 3)."""
        saturation, value = rng.uniform(*self.saturation), rng.uniform(*self.value)
        hue = rng.uniform(*self.hue)
        more, brighter = self.second
        return np.stack(
            [colour(hue, saturation, value), colour(hue, saturation * more, value * brighter)]
        )


# The ids have gaps, as the 80 classes of COCO do, so that no code can take them for indices.
KINDS = (
    Kind("disc", 3, _disc, _dots, (200, 228), (0.6, 0.9), (0.55, 0.9), (0.15, 1.4)),
    Kind("ring", 5, _ring, _spokes, (-8, 10), (0.7, 0.95), (0.65, 0.95), (0.06, 1.3)),
    Kind("frame", 9, _frame, _grain, (20, 32), (0.55, 0.75), (0.35, 0.65), (1.1, 0.6)),
    Kind("star", 10, _star, _gradient, (46, 56), (0.7, 0.95), (0.85, 1.0), (1.2, 0.75)),
    Kind("cross", 14, _cross, _checks, (168, 186), (0.55, 0.9), (0.5, 0.8), (0.5, 1.6)),
    Kind("triangle", 21, _triangle, _stripes, (262, 290), (0.5, 0.8), (0.45, 0.8), (0.4, 1.5)),
    Kind("gear", 22, _gear, _brushed, (200, 230), (0.04, 0.16), (0.4, 0.65), (0.8, 1.5)),
    Kind("leaf", 40, _leaf, _veins, (90, 135), (0.5, 0.85), (0.4, 0.75), (0.7, 1.5)),
    Kind("heart", 51, _heart, _gloss, (325, 346), (0.6, 0.9), (0.75, 1.0), (0.25, 1.3)),
    Kind("rope", 77, _rope, _twist, (34, 44), (0.25, 0.5), (0.75, 0.95), (1.5, 0.5)),
)
ROPE = KINDS[-1]
