"""A modulated deformable convolution as the specification words it (1.5), on nested lists."""

from math import exp, floor

Grid = list[list[float]]


def sample(image: Grid, y: float, x: float) -> float:
    """Bilinear, zeros outside."""
    height, width = len(image), len(image[0])
    if y <= -1 or x <= -1 or y >= height or x >= width:
        return 0.0
    top, left = floor(y), floor(x)
    total = 0.0
    for row, column in ((top, left), (top, left + 1), (top + 1, left), (top + 1, left + 1)):
        if 0 <= row < height and 0 <= column < width:
            total += (1 - abs(y - row)) * (1 - abs(x - column)) * image[row][column]
    return total


def deform_conv(
    x: list[Grid],
    offset_mask: list[Grid],
    weight: list[list[Grid]],
    bias: list[float],
    stride: int,
) -> list[Grid]:
    """One image (in, h, w), 27 channels at the size of the output, 3 x 3 taps, padding 1."""
    rows, columns = range(len(offset_mask[0])), range(len(offset_mask[0][0]))
    output = []
    for kernels, start in zip(weight, bias, strict=True):
        grid = [[start for _ in columns] for _ in rows]
        for r in rows:
            for c in columns:
                for tap in range(9):
                    i, j = divmod(tap, 3)
                    y = r * stride - 1 + i + offset_mask[2 * tap][r][c]
                    z = c * stride - 1 + j + offset_mask[2 * tap + 1][r][c]
                    counts = 1 / (1 + exp(-offset_mask[18 + tap][r][c]))
                    for image, kernel in zip(x, kernels, strict=True):
                        grid[r][c] += kernel[i][j] * counts * sample(image, y, z)
        output.append(grid)
    return output
