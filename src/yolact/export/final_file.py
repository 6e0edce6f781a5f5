"""Files with finished masks, run as their users run them: by the format's own library alone."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from yolact.errors import installed_with
from yolact.export.graph import FINAL_INPUTS
from yolact.ops.masks import CroppedMask
from yolact.results import Masks, Result
from yolact.runtimes.onnx_runtime import import_onnxruntime
from yolact.runtimes.program_file import read_program

Outputs = dict[str, NDArray[Any]]
Run = Callable[[NDArray[np.uint8], NDArray[np.float32]], Outputs]


def open_final(path: Path, outputs: Sequence[str]) -> Run:
    """A function from pictures (B, H, W, 3) uint8 and a score to what the file gives, by name.

    Args:
        path: An ``.onnx``, ``.xml`` or ``.pt2`` file with finished masks.
        outputs: Names of what it gives, in order.

    Raises:
        UsageError: If the library is not installed.
    """
    return _OPENED_BY[path.suffix](path, outputs)


def final_results(
    run: Run, pictures: Sequence[NDArray[np.uint8]], score: float, names: Sequence[str]
) -> list[Result]:
    """What a file with finished masks finds above ``score`` in pictures of one size."""
    found = run(np.stack(pictures), np.array(score, dtype=np.float32))
    return [
        _result(found, found["picture_index"] == index, picture, names)
        for index, picture in enumerate(pictures)
    ]


def _result(
    found: Outputs, ours: NDArray[np.bool_], picture: NDArray[np.uint8], names: Sequence[str]
) -> Result:
    size = (picture.shape[0], picture.shape[1])
    bitmaps = found["masks"][ours].astype(np.bool_)
    if "windows" in found:
        windows = found["windows"][ours].tolist()
    else:
        windows = [(0, 0, size[1], size[0])] * len(bitmaps)
    crops = [
        CroppedMask(x, y, bitmap[:height, :width])
        for bitmap, (x, y, width, height) in zip(bitmaps, windows, strict=True)
    ]
    return Result(
        boxes=found["boxes"][ours],
        scores=found["scores"][ours],
        mask_scores=found.get("mask_scores", found["scores"])[ours],
        labels=found["labels"][ours],
        names=tuple(names),
        masks=Masks.from_crops(crops, size),
        image_size=size,
    )


def _open_onnx(path: Path, outputs: Sequence[str]) -> Run:
    onnxruntime = import_onnxruntime()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def run(pictures: NDArray[np.uint8], score: NDArray[np.float32]) -> Outputs:
        given = dict(zip(FINAL_INPUTS, (pictures, score), strict=True))
        return dict(zip(outputs, session.run(outputs, given), strict=True))

    return run


def _open_openvino(path: Path, outputs: Sequence[str]) -> Run:
    with installed_with("openvino"):
        import openvino

    core = openvino.Core()
    # By itself it takes bf16 on processors that are fast in it.
    model = core.compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})

    def run(pictures: NDArray[np.uint8], score: NDArray[np.float32]) -> Outputs:
        found = model(dict(zip(FINAL_INPUTS, (pictures, score), strict=True)))
        return {name: found[name] for name in outputs}

    return run


def _open_program(path: Path, outputs: Sequence[str]) -> Run:
    module = read_program(path)[0].module()

    def run(pictures: NDArray[np.uint8], score: NDArray[np.float32]) -> Outputs:
        with torch.inference_mode():
            found = module(torch.from_numpy(pictures), torch.from_numpy(score))
        return {name: each.numpy() for name, each in zip(outputs, found, strict=True)}

    return run


_OPENED_BY = {".onnx": _open_onnx, ".xml": _open_openvino, ".pt2": _open_program}
