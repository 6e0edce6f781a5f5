"""Masks as nested lists: cropping and bilinear resizing, pixel by pixel."""

from math import floor

from oracles.boxes import Box

Grid = list[list[float]]


def crop(mask: Grid, box: Box, padding: float = 1.0) -> Grid:
    """Specification 4.2, step 3."""
    height, width = len(mask), len(mask[0])
    x1, y1, x2, y2 = box
    left = max(min(x1 * width, x2 * width) - padding, 0)
    right = min(max(x1 * width, x2 * width) + padding, width)
    top = max(min(y1 * height, y2 * height) - padding, 0)
    bottom = min(max(y1 * height, y2 * height) + padding, height)
    return [
        [
            mask[row][column] if left <= column < right and top <= row < bottom else 0.0
            for column in range(width)
        ]
        for row in range(height)
    ]


def fade(mask: Grid, box: Box, margin: float, padding: float = 1.0) -> Grid:
    """Whole inside the padded box, then falling linearly, to nothing after ``margin`` sides."""
    height, width = len(mask), len(mask[0])
    x1, x2 = sorted((box[0] * width, box[2] * width))
    y1, y2 = sorted((box[1] * height, box[3] * height))

    def share(cell: int, near: float, far: float) -> float:
        distance = max(near - padding - cell, cell - far - padding, 0.0)
        if distance == 0:
            return 1.0
        return max(1 - distance / (margin * (far - near)), 0.0) if far > near else 0.0

    return [
        [
            value * min(share(column, x1, x2), share(row, y1, y2))
            for column, value in enumerate(values)
        ]
        for row, values in enumerate(mask)
    ]


def resize(mask: Grid, size: tuple[int, int], region: Box = (0.0, 0.0, 1.0, 1.0)) -> Grid:
    """Bilinear, half-pixel centres, without anti-aliasing; of a part of the mask, in fractions."""
    height, width = len(mask), len(mask[0])
    left, top, right_edge, bottom = region

    def neighbours(
        target: int, source: int, index: int, near: float, far: float
    ) -> tuple[int, int, float]:
        place = near + (index + 0.5) / target * (far - near)  # of the pixel's centre
        position = max(place * source - 0.5, 0.0)
        lower = min(floor(position), source - 1)
        return lower, min(lower + 1, source - 1), position - lower

    resized = []
    for y in range(size[0]):
        y0, y1, down = neighbours(size[0], height, y, top, bottom)
        row = []
        for x in range(size[1]):
            x0, x1, right = neighbours(size[1], width, x, left, right_edge)
            upper = mask[y0][x0] * (1 - right) + mask[y0][x1] * right
            lower = mask[y1][x0] * (1 - right) + mask[y1][x1] * right
            row.append(upper * (1 - down) + lower * down)
        resized.append(row)
    return resized
