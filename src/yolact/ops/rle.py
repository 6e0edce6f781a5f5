"""COCO run-length encoding of box-cropped masks, without building the full-size bitmap."""

from collections.abc import Mapping
from typing import Any, TypedDict

import numpy as np
from faster_coco_eval import mask_api_new_cpp
from faster_coco_eval.core import mask as coco_mask
from numpy.typing import NDArray

from yolact.ops.masks import CroppedMask
from yolact.ops.runs import MaskRuns, pack_mask, run_edges


class RLE(TypedDict):
    """A binary mask as COCO stores it: compressed run lengths, columns one after the other."""

    size: list[int]
    """[height, width] of the image."""
    counts: str


def crop_to_rle(mask: CroppedMask, image_size: tuple[int, int]) -> RLE:
    """Encode a cropped mask as a mask of the whole image.

    The work grows with the crop, not with the image.

    Args:
        mask: Lies inside the image; a crop of size zero is an empty mask.
        image_size: (height, width) of the image.

    Returns:
        The same bytes as pycocotools gives for the full bitmap.
    """
    return runs_to_rle(pack_mask(mask), image_size)


def runs_to_rle(runs: MaskRuns, image_size: tuple[int, int]) -> RLE:
    """As :func:`crop_to_rle`; the work grows with the number of runs, whatever their lengths."""
    height, width = image_size
    starts, ends = run_edges(runs)
    # Rows that the image has above and below the window, in all columns before the run's own.
    elsewhere = starts // max(runs.height, 1) * (height - runs.height) + runs.x * height + runs.y
    starts, ends = starts + elsewhere, ends + elsewhere
    # Where a mask is as high as the image, a run may go on at the top of the next column.
    goes_on = ends[:-1] == starts[1:]
    starts, ends = (
        np.delete(starts, np.flatnonzero(goes_on) + 1),
        np.delete(ends, goes_on.nonzero()),
    )
    edges = np.stack((starts, ends), axis=1).ravel()
    lengths = np.diff(edges, prepend=0, append=height * width)
    # Only the first run, the one of zeros, may be empty.
    lengths = lengths[:-1] if len(lengths) > 1 and lengths[-1] == 0 else lengths
    uncompressed = {"size": [height, width], "counts": lengths.tolist()}
    compressed = coco_mask.frPyObjects(uncompressed, height, width)
    return RLE(size=[height, width], counts=compressed["counts"].decode("ascii"))


def rle_to_crop(rle: Mapping[str, Any]) -> CroppedMask:
    """Decode only the columns and rows that hold something.

    The work grows with the object, not with the image.

    Args:
        rle: Compressed, ``counts`` as text or bytes.

    Raises:
        ValueError: If the runs do not fit the size.
    """
    height, _ = rle["size"]
    edges = np.cumsum(np.asarray(decode_runs(rle), dtype=np.int64))
    starts, ends = edges[:-1:2], edges[1::2]
    if len(starts) == 0:
        return CroppedMask(0, 0, np.zeros((0, 0), dtype=np.bool_))
    left, right = int(starts[0]) // height, int(ends[-1] - 1) // height + 1
    steps = np.zeros((right - left) * height + 1, dtype=np.int8)
    # Runs may be empty, so several may start or end at one place.
    np.add.at(steps, starts - left * height, 1)
    np.add.at(steps, ends - left * height, -1)
    band = np.cumsum(steps[:-1], dtype=np.int8).astype(np.bool_).reshape(right - left, height).T
    rows = np.flatnonzero(band.any(axis=1))
    top, bottom = (int(rows[0]), int(rows[-1]) + 1) if len(rows) else (0, 0)
    return CroppedMask(left, top, band[top:bottom])


def decode_runs(rle: Mapping[str, Any]) -> list[int]:
    """Lengths of the runs of 0, 1, 0, 1, … of a compressed RLE, column by column.

    Raises:
        ValueError: If ``counts`` is no such text, or the runs do not add up to the size.
    """
    height, width = rle["size"]
    if not isinstance(rle["counts"], str | bytes):
        raise ValueError("the counts of an RLE are a text or a list of whole numbers")
    try:
        runs: list[int] = mask_api_new_cpp.toUncompressedRLE([rle])[0]["counts"]
    except (RuntimeError, TypeError, ValueError) as error:
        raise ValueError(str(error).split("\n")[0].rstrip(".")) from error
    if sum(runs) != height * width or min(runs, default=0) < 0:
        raise ValueError("the counts of the RLE do not add up to the picture")
    return runs


def labels_to_rles(labels: NDArray[np.integer[Any]]) -> dict[int, RLE]:
    """The mask of every label in a label map, background 0 left out.

    The work grows with the picture and the number of runs, not with the number of objects.

    Args:
        labels: (H, W) whole numbers, at least one.

    Returns:
        label -> its mask, ascending.
    """
    height, width = labels.shape
    column_wise = labels.T.ravel()
    starts = np.append(0, np.flatnonzero(column_wise[1:] != column_wise[:-1]) + 1)
    ends = np.append(starts[1:], height * width)
    order = np.argsort(column_wise[starts], kind="stable")
    values = column_wise[starts][order]
    firsts = np.append(0, np.flatnonzero(values[1:] != values[:-1]) + 1)
    masks: dict[int, RLE] = {}
    for first, last in zip(firsts, np.append(firsts[1:], len(values)), strict=True):
        if values[first] == 0:
            continue
        runs = order[first:last]
        edges = np.stack((starts[runs], ends[runs]), axis=1).ravel()
        counts = np.diff(edges, prepend=0, append=height * width)
        counts = counts[:-1] if counts[-1] == 0 else counts
        uncompressed = {"size": [height, width], "counts": counts.tolist()}
        compressed = coco_mask.frPyObjects(uncompressed, height, width)
        masks[int(values[first])] = RLE(
            size=[height, width], counts=compressed["counts"].decode("ascii")
        )
    return masks
