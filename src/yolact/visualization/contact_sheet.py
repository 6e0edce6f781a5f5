"""Many small pictures on one, each with a few words under it."""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from yolact.visualization.draw import text_font

_PAPER, _INK = 255, 0
_TEXT = 12  # pixels
_LINES = 3
_GAP = 8
_LINE_HEIGHT = _TEXT + 4


def contact_sheet(
    pictures: Sequence[NDArray[np.uint8]],
    captions: Sequence[str],
    *,
    columns: int = 5,
    cell: tuple[int, int] = (180, 240),
) -> NDArray[np.uint8]:
    """Arrange pictures in rows.

    Args:
        pictures: RGB (H, W, 3) of any sizes; shown whole, as large as the cell allows.
        captions: One for each; broken into at most three lines, what is longer is cut.
        columns: Pictures in a row.
        cell: (height, width) in pixels for a picture without its caption.

    Returns:
        RGB (H, W, 3).
    """
    height, width = cell[0] + _LINES * _LINE_HEIGHT + _GAP, cell[1] + _GAP
    columns = max(min(columns, len(pictures)), 1)
    rows = -(-len(pictures) // columns)
    sheet = Image.new("RGB", (columns * width + _GAP, rows * height + _GAP), (_PAPER,) * 3)
    ink, font = ImageDraw.Draw(sheet), text_font(_TEXT)
    for index, (picture, caption) in enumerate(zip(pictures, captions, strict=True)):
        x, y = _GAP + index % columns * width, _GAP + index // columns * height
        small = fitted(picture, cell)
        left, top = (cell[1] - small.shape[1]) // 2, (cell[0] - small.shape[0]) // 2
        sheet.paste(Image.fromarray(small), (x + left, y + top))
        for number, line in enumerate(_broken(caption, cell[1])):
            ink.text((x, y + cell[0] + 2 + number * _LINE_HEIGHT), line, fill=_INK, font=font)
    return np.array(sheet)


def fitted(picture: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """A picture (H, W, 3) as large as fits into ``size``, in its own aspect."""
    scale = min(size[0] / picture.shape[0], size[1] / picture.shape[1])
    width, height = (max(round(side * scale), 1) for side in picture.shape[1::-1])
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST  # pixels of tiny objects stay visible
    return np.asarray(cv2.resize(picture, (width, height), interpolation=how), dtype=np.uint8)


def _broken(text: str, width: int) -> list[str]:
    """The text in lines that fit, at most three."""
    font = text_font(_TEXT)
    lines = [""]
    for word in text.split(" "):
        longer = f"{lines[-1]} {word}".lstrip()
        if font.getlength(longer) <= width:
            lines[-1] = longer
            continue
        lines.append("")
        for letter in word:  # one alone may be too long
            if font.getlength(lines[-1] + letter) > width:
                lines.append("")
            lines[-1] += letter
    return [line for line in lines if line][:_LINES]
