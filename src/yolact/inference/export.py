"""``export``: a model as a file for another runtime, in place only once it answers like the model."""

import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any, Unpack

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from yolact.artifacts.record import ExportRecord
from yolact.config.detection import DetectionConfig, DetectionOptions
from yolact.config.export import FORMATS, FileFormat, FileMasks
from yolact.data.coco import CocoInstances
from yolact.data.generate import generate_dataset
from yolact.data.images import list_images
from yolact.errors import ExportError, UsageError, YolactError, installed_with
from yolact.evaluation.coco import Metrics
from yolact.evaluation.run import fill_evaluator
from yolact.export.final_file import Run, final_results, open_final
from yolact.export.onnx_file import join_onnx, piece_onnx, write_onnx
from yolact.export.openvino_file import from_onnx, join_openvino, write_openvino
from yolact.export.parity import TIE, Parity, compare, level_of
from yolact.export.pieces import (
    Piece,
    Shapes,
    final_piece,
    finish_of,
    finish_piece,
    network_piece,
    preprocess_piece,
)
from yolact.export.torch_file import write_program
from yolact.inference.predictor import Predictor
from yolact.inference.sources import Source, load_picture, source_path
from yolact.model.yolact import Yolact
from yolact.results import Result
from yolact.runtimes.base import RAW_OUTPUTS
from yolact.runtimes.choose import open_file, runtime_of_file
from yolact.runtimes.torch_runtime import TorchRuntime

Pictures = list[tuple[str, NDArray[np.uint8]]]
Answer = Callable[[Sequence[NDArray[np.uint8]], float], list[Result]]
"""Pictures of one size and a score -> what is found in them above it."""

_PICTURES = 20  # of those given, so many are compared
_BATCH = 4
_SIZES = ((240, 320), (320, 240), (300, 300))  # of pictures made for a check


def export(
    model: Predictor,
    path: str | os.PathLike[str],
    *,
    to: FileFormat | None = None,
    masks: FileMasks = "final",
    full_size: bool = False,
    picture_size: tuple[int, int] | None = None,
    batch: int | None = None,
    pictures: Sequence[Source] | None = None,
    data: CocoInstances | None = None,
    int8: Any = None,
    overwrite: bool = False,
    on_progress: Callable[[str], object] | None = None,
    **options: Unpack[DetectionOptions],
) -> Parity:
    """Write a model as a file for another runtime, and check it against the model.

    The file is put in place only if, in every picture, it finds what the model finds, with masks of
    an IoU of 0.99 and more.

    Args:
        model: Run by torch in float32.
        path: Of the file. OpenVINO's has its weights beside it, in a ``.bin``.
        to: ``onnx``, ``openvino`` or ``torch-export``; by default what the suffix of ``path`` means.
        masks: ``final``: pictures in, finished masks out. ``raw``: the network alone.
        full_size: Of ``final``: masks of the whole picture, not of windows.
        picture_size: Of ``final``: (height, width), the only pictures it takes; any if None.
        batch: The only number of pictures it takes at a time; any if None.
        pictures: To check it on. By default those of ``data``, or made ones.
        data: Labelled pictures, to compare AP on as well.
        int8: The same model in int8, as ``quantize_model`` gives it; its network is written, and the
            file has to answer like it.
        overwrite: Replace files that are there.
        on_progress: Called with what is being done.
        options: Of detection, as when the model is called; the file keeps them as its own.

    Returns:
        What the check found. It may be given to :func:`yolact.load`.

    Raises:
        ExportError: If the file does not answer like the model, or nothing could be compared.
        UsageError: If options contradict each other, a library is missing, or the file exists.
    """
    path, say = Path(path), on_progress or _say_nothing
    to = to or _format_of(path)
    network = network_of(model)
    if masks == "raw" and (full_size or picture_size is not None):
        raise UsageError(
            "a raw file has no masks and takes no pictures: no full size, no fixed one."
        )
    if batch is not None and batch < 1:
        raise UsageError(f"a batch has at least 1 picture, not {batch}.")
    if data is not None and picture_size is not None:
        raise UsageError("AP is measured on pictures as they are, not on pictures of a fixed size.")
    if int8 is not None and (to == "torch-export" or (masks == "raw" and batch is not None)):
        raise UsageError("int8 is for onnx and openvino files, and a raw one takes any batch.")
    original = model if int8 is None else int8.model
    scorer = network.mask_scorer
    record = ExportRecord(
        replace(original.metadata, detection=model.detection(**options)),
        masks,
        "float32" if int8 is None else "int8",
        None if scorer is None else scorer.state_dict(),
    )
    shapes = Shapes(batch, picture_size)
    with _in_place_at_the_end(path, FORMATS[to], overwrite=overwrite) as temporary:
        say(f"writing {path}")
        graph = None if int8 is None else int8.graph
        outputs = _write(network, record, shapes, to, temporary, full_size=full_size, graph=graph)
        say("checking that it answers like the model")
        shown = _check_pictures(pictures, data, picture_size)
        parity = _check(temporary, outputs, original, record, batch, shown, data)
        parity = replace(parity, path=path)
        if not parity.agrees:
            raise ExportError(parity.complaint(), parity)
        if parity.is_vain:
            raise ExportError(
                "the model finds nothing in the pictures of the check: give some that show what it "
                "knows (--check).",
                parity,
            )
    return parity


def _write(
    network: Yolact,
    record: ExportRecord,
    shapes: Shapes,
    to: FileFormat,
    path: Path,
    *,
    full_size: bool,
    graph: Any = None,
) -> tuple[str, ...]:
    """Write a file, with ``graph`` as its network if there is one; its outputs' names come back."""
    metadata = record.metadata
    model = metadata.model
    alone = network_piece(network, model.image_size, shapes.batch)
    if record.masks == "raw":
        if to == "torch-export":
            write_program(alone.program(), record, path)
        else:
            _write_pieces([alone], record, to, path, graph)
        return alone.outputs
    finish = finish_of(model, metadata.detection, network.mask_scorer, full_size=full_size)
    if to == "torch-export":
        whole = final_piece(network, finish, shapes)
        write_program(whole.program(), record, path)
        return whole.outputs
    last = finish_piece(finish, shapes.batch)
    _write_pieces([preprocess_piece(model, shapes), alone, last], record, to, path, graph)
    return last.outputs


def _write_pieces(
    pieces: Sequence[Piece], record: ExportRecord, to: FileFormat, path: Path, network: Any
) -> None:
    """Join pieces and write them, with ``network`` in the place of the one among them if given."""
    is_onnx, made = to == "onnx", []
    for piece in pieces:
        if network is not None and piece.outputs == RAW_OUTPUTS:
            made.append(network)
            continue
        with installed_with("onnx"):
            graph = piece_onnx(piece)
        with installed_with("openvino"):
            made.append(graph if is_onnx else from_onnx(graph))
    if len(made) > 1:
        made = [(join_onnx if is_onnx else join_openvino)(*made)]
    (write_onnx if is_onnx else write_openvino)(made[0], record, path)


def _check(
    path: Path,
    outputs: Sequence[str],
    model: Predictor,
    record: ExportRecord,
    batch: int | None,
    shown: Pictures,
    data: CocoInstances | None,
) -> Parity:
    """What a file finds, beside what its model finds."""
    detection = record.metadata.detection
    raw_difference = None
    with _opening(path):
        if record.masks == "final":
            run = open_final(path, outputs)
            answer: Answer = partial(_finished, run, model.names)
        else:
            cpu = torch.device("cpu")
            file = Predictor(*open_file(path, runtime_of_file(path), cpu))
            answer = partial(_detected, file, detection)
    if record.masks == "raw":
        raw_difference = _raw_difference(model, file, [each for _, each in shown], batch or 2)
    in_batches = partial(_in_batches, answer, batch)
    expected = [model.detect([picture], detection)[0] for _, picture in shown]
    level = level_of(expected)
    found = in_batches([picture for _, picture in shown], max(level - 2 * TIE, 0))
    return Parity(
        path=path,
        masks=record.masks,
        level=level,
        pictures=tuple(
            compare(name, one, other, detection, level)
            for (name, _), one, other in zip(shown, expected, found, strict=True)
        ),
        raw_difference=raw_difference,
        metrics={} if data is None else _metrics(in_batches, model, detection, data),
    )


@contextmanager
def _opening(path: Path) -> Iterator[None]:
    try:
        yield
    except YolactError:
        raise
    except Exception as error:  # each library has its own
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ExportError(
            f"the library that {path.suffix} files are for refuses it: {reason}"
        ) from error


def _finished(
    run: Run, names: Sequence[str], pictures: Sequence[NDArray[np.uint8]], score: float
) -> list[Result]:
    return final_results(run, pictures, score, names)


def _detected(
    file: Predictor,
    detection: DetectionConfig,
    pictures: Sequence[NDArray[np.uint8]],
    score: float,
) -> list[Result]:
    return [result.filter(score) for result in file.detect(pictures, detection)]


def _raw_difference(
    model: Predictor, file: Predictor, pictures: Sequence[NDArray[np.uint8]], batch: int
) -> float:
    """The largest between the networks' outputs, as a fraction of the largest value of each."""
    images = model.preprocessor([pictures[index % len(pictures)] for index in range(batch)])
    ours, theirs = (each.runtime.run(images.to(each.device)) for each in (model, file))
    return max(
        float((a.cpu() - b.cpu()).abs().max() / a.abs().max().cpu())
        for a, b in ((getattr(ours, name), getattr(theirs, name)) for name in RAW_OUTPUTS)
    )


def _metrics(
    answer: Answer, model: Predictor, detection: DetectionConfig, data: CocoInstances
) -> dict[str, Metrics]:
    return {
        name: fill_evaluator(
            predict,
            model.names,
            data,
            max_detections=detection.max_detections,
            batch_size=_BATCH,
        ).compute()
        for name, predict in {
            "model": lambda pictures: model.detect(pictures, detection),
            "file": lambda pictures: answer(pictures, 0.0),
        }.items()
    }


def _in_batches(
    answer: Answer, batch: int | None, pictures: Sequence[NDArray[np.uint8]], score: float
) -> list[Result]:
    """Pictures of one size together, as many as the file takes."""
    results: list[Result] = []
    for _, alike in groupby(pictures, key=np.shape):
        waiting = list(alike)
        while waiting:
            part, waiting = waiting[: batch or _BATCH], waiting[batch or _BATCH :]
            filled = part + part[-1:] * ((batch or 0) - len(part))
            results += answer(filled, score)[: len(part)]
    return results


def _check_pictures(
    sources: Sequence[Source] | None,
    data: CocoInstances | None,
    picture_size: tuple[int, int] | None,
) -> Pictures:
    """Names and pictures to check a file on, of its size if that is fixed."""
    if sources is None and data is None:
        shown = _made_pictures()
    else:
        if sources is None:
            assert data is not None
            sources = [record.path for record in data.records]
        shown = [
            (str(source_path(source) or index), load_picture(source))
            for index, source in enumerate(sources[:_PICTURES], start=1)
        ]
    if picture_size is None:
        return shown
    height, width = picture_size
    return [
        (name, np.asarray(cv2.resize(picture, (width, height)), dtype=np.uint8))
        for name, picture in shown
    ]


def _made_pictures() -> Pictures:
    with tempfile.TemporaryDirectory(prefix="yolact-export-") as folder:
        shown: Pictures = []
        for number, size in enumerate(_SIZES):
            made = Path(folder, str(number))
            generate_dataset(made, num_train=1, num_val=3, image_size=size, seed=number)
            shown += [
                (f"made {len(shown) + index}", load_picture(file))
                for index, file in enumerate(list_images(made / "images"), start=1)
            ]
    return shown


def network_of(model: Predictor) -> Yolact:
    """The network of a model, to be written in another form.

    Raises:
        UsageError: If it is not run by torch in float32.
    """
    runtime = model.runtime
    if not isinstance(runtime, TorchRuntime) or runtime.precision != "float32":
        raise UsageError(
            f"only a model that torch runs in float32 can be exported, not one by {runtime.name} in "
            f"{runtime.precision}: load what it was made from."
        )
    return runtime.network


def _format_of(path: Path) -> FileFormat:
    for name, suffix in FORMATS.items():
        if path.suffix == suffix:
            return name
    raise UsageError(f"{path} must end in {' or '.join(FORMATS.values())}, or say to which format.")


@contextmanager
def _in_place_at_the_end(path: Path, suffix: str, *, overwrite: bool) -> Iterator[Path]:
    """Give a path in a folder of its own; on success all that lies there moves to where ``path`` is."""
    if path.suffix != suffix:
        raise UsageError(
            f"the file must end in {suffix}, not in {path.suffix or 'nothing'}: {path}."
        )
    targets = [path, path.with_suffix(".bin")] if suffix == ".xml" else [path]
    for target in targets:
        if target.exists() and not overwrite:
            raise UsageError(f"{target} exists: name another file, or overwrite it (--overwrite).")
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{path.stem}-", dir=path.parent) as folder:
        yield Path(folder, path.name)
        for target in reversed(targets):  # the graph is the last to appear
            Path(folder, target.name).replace(target)


def _say_nothing(_: str) -> None:
    """Nobody wants to hear it."""
