"""``export``: a model as a file for another runtime, in place only once it answers like the model."""

import math
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
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
from yolact.config.export import FORMATS, MAX_DROP, FileFormat, FileMasks
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
from yolact.inference.evaluate import evaluate_model, only_wanted
from yolact.inference.predictor import Predictor
from yolact.inference.quantization import CalibrationPictures, quantize_model
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
_WRITERS: dict[str, tuple[Any, Any]] = {
    FORMATS["onnx"]: (join_onnx, write_onnx),
    FORMATS["openvino"]: (join_openvino, write_openvino),
}
"""What joins and writes graphs, by the suffix of the file."""
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
    int8: CalibrationPictures | None = None,
    max_drop: float = MAX_DROP,
    overwrite: bool = False,
    on_progress: Callable[[str], object] | None = None,
    **options: Unpack[DetectionOptions],
) -> Parity:
    """Write a model as a file for another runtime, and check it against the model.

    The file is put in place only if, in every picture, it finds what the model finds, with masks of
    an IoU of 0.99 and more. For int8 that is asked of the file before its network is quantised, and of
    the finished file that it costs no more AP than it may.

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
        int8: Pictures to quantise the network with, and to measure AP on before and after, from
            :func:`yolact.inference.quantization.choose_pictures`. None: it stays in float32.
        max_drop: Points of mask AP and of box AP, of 100, that int8 may cost.
        overwrite: Replace files that are there.
        on_progress: Called with what is being done.
        options: Of detection, as when the model is called; the file keeps them as its own.

    Returns:
        What the check found. It may be given to :func:`yolact.load`.

    Raises:
        DataError: If there is no AP to compare int8 by.
        ExportError: If the file does not answer like the model, or nothing could be compared, or int8
            costs too much.
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
    if (data is not None or int8 is not None) and picture_size is not None:
        raise UsageError("AP is measured on pictures as they are, not on pictures of a fixed size.")
    if int8 is not None and (to == "torch-export" or (masks == "raw" and batch is not None)):
        raise UsageError("int8 is for onnx and openvino files, and a raw one takes any batch.")
    if not math.isfinite(max_drop):
        raise UsageError(f"a drop of AP is a number of points, not {max_drop}.")
    scorer = network.mask_scorer
    record = ExportRecord(
        replace(model.metadata, detection=model.detection(**options)),
        masks,
        mask_scorer=None if scorer is None else scorer.state_dict(),
    )
    shapes = Shapes(batch, picture_size)
    with _in_place_at_the_end(path, FORMATS[to], overwrite=overwrite) as temporary:
        say(f"writing {path}")
        pieces = _pieces(network, record, shapes, to, full_size=full_size, int8=int8 is not None)
        outputs = pieces[-1].outputs
        graphs: list[Any] = []
        if to == "torch-export":
            write_program(pieces[0].program(), record, temporary)
        else:
            graphs = [_graph(piece, to) for piece in pieces]
            _write_graphs(graphs, record, temporary)
        say("checking that it answers like the model")
        known = int8.measured if data is None and int8 is not None else data
        shown = _check_pictures(pictures, known, picture_size)
        parity = _check(temporary, outputs, model, record, batch, shown, data)
        parity = replace(parity, path=path)
        if not parity.agrees:
            raise ExportError(parity.complaint(), parity)
        if parity.is_vain:
            raise ExportError(
                "the model finds nothing in the pictures of the check: give some that show what it "
                "knows (--check).",
                parity,
            )
        if int8 is not None:

            def measure(graph: Any) -> Metrics:
                said = replace(record, precision="int8")
                _write_graphs(_with_network(graphs, graph), said, temporary)
                answer = _answer_of(_open(temporary, outputs, said), said, batch)
                return _file_metrics(answer, model.names, said.metadata.detection, int8.measured)

            graph, report = quantize_model(
                model,
                graphs[len(graphs) // 2],
                replace(record, masks="raw"),
                int8,
                measure,
                max_drop=max_drop,
                say=say,
            )
            record = replace(record, metadata=report.added_to(record.metadata), precision="int8")
            _write_graphs(_with_network(graphs, graph), record, temporary)
            metrics = parity.metrics
            if data is not None:
                answer = _answer_of(_open(temporary, outputs, record), record, batch)
                final = _file_metrics(answer, model.names, record.metadata.detection, data)
                metrics = metrics | {"file": final}
            parity = replace(parity, int8=report, metrics=metrics)
    return parity


def _pieces(
    network: Yolact,
    record: ExportRecord,
    shapes: Shapes,
    to: FileFormat,
    *,
    full_size: bool,
    int8: bool,
) -> list[Piece]:
    """What a file is made of; the network is in the middle. torch.export makes it of one."""
    metadata = record.metadata
    model = metadata.model
    alone = network_piece(network, model.image_size, None if int8 else shapes.batch)
    if record.masks == "raw":
        return [alone]
    finish = finish_of(model, metadata.detection, network.mask_scorer, full_size=full_size)
    if to == "torch-export":
        return [final_piece(network, finish, shapes)]
    return [preprocess_piece(model, shapes), alone, finish_piece(finish, shapes.batch)]


def _graph(piece: Piece, to: FileFormat) -> Any:
    """A piece as an ``onnx.ModelProto``, or as an ``openvino.Model``."""
    with installed_with("onnx"):
        graph = piece_onnx(piece)
    if to == "onnx":
        return graph
    with installed_with("openvino"):
        return from_onnx(graph)


def _with_network(graphs: list[Any], network: Any) -> list[Any]:
    middle = len(graphs) // 2
    return [*graphs[:middle], network, *graphs[middle + 1 :]]


def _write_graphs(graphs: list[Any], record: ExportRecord, path: Path) -> None:
    """Join what a file is made of, and write it."""
    join, write = _WRITERS[path.suffix]
    parts = deepcopy(graphs)  # joining uses them up
    write(join(*parts) if len(parts) > 1 else parts[0], record, path)


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
    file = _open(path, outputs, record)
    in_batches = _answer_of(file, record, batch)
    raw_difference = None
    if isinstance(file, Predictor):
        raw_difference = _raw_difference(model, file, [each for _, each in shown], batch or 2)
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


def _open(path: Path, outputs: Sequence[str], record: ExportRecord) -> Run | Predictor:
    """What runs a file with finished masks as its users do, or uses the network of a raw one."""
    with _opening(path):
        if record.masks == "final":
            return open_final(path, outputs)
        return Predictor(*open_file(path, runtime_of_file(path), torch.device("cpu")))


def _answer_of(file: Run | Predictor, record: ExportRecord, batch: int | None) -> Answer:
    """What a file finds in pictures, given to it as many at a time as it takes."""
    metadata = record.metadata
    if isinstance(file, Predictor):
        answer: Answer = partial(_detected, file, metadata.detection)
    else:
        answer = partial(_finished, file, metadata.model.class_names)
    return partial(_in_batches, answer, batch)


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
        "model": evaluate_model(model, detection, data, batch_size=_BATCH).compute(),
        "file": _file_metrics(answer, model.names, detection, data),
    }


def _file_metrics(
    answer: Answer, names: Sequence[str], detection: DetectionConfig, data: CocoInstances
) -> Metrics:
    return fill_evaluator(
        lambda pictures: answer(pictures, 0.0),
        names,
        only_wanted(data, names, detection),
        max_detections=detection.max_detections,
        batch_size=_BATCH,
    ).compute()


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
    if not shown:
        raise UsageError("there is no picture to check the file on.")
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
            f"only a float32 network in torch can be exported, not {runtime.description}: load what it "
            "was made from."
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
