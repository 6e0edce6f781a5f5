"""The object users hold: pictures in, finished results out. Knows no file format of models."""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack, overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from yolact.artifacts.metadata import ArtifactMetadata
from yolact.config.detection import DISPLAY_SCORE, DetectionConfig, DetectionOptions
from yolact.config.runtime import Precision, RuntimeChoice
from yolact.errors import ImageError, UsageError
from yolact.inference.sources import Source, load_picture, source_path
from yolact.model.build import build_anchors
from yolact.processing.postprocess import postprocess
from yolact.processing.preprocess import Preprocessor
from yolact.results import Result
from yolact.runtimes.base import Runtime
from yolact.structures import Detections, Predictions

if TYPE_CHECKING:
    from yolact.export.parity import Parity


class Predictor:
    """A network with all that turns pictures into masks and back."""

    def __init__(self, runtime: Runtime, metadata: ArtifactMetadata) -> None:
        """Take what runs the network, and the record of the model."""
        self.runtime = runtime
        self.metadata = metadata
        self.preprocessor = Preprocessor(metadata.model, runtime.device)
        self.anchors = build_anchors(metadata.model).to(runtime.device)

    @property
    def device(self) -> torch.device:
        """Where the network runs."""
        return self.runtime.device

    @property
    def names(self) -> tuple[str, ...]:
        """Class names by label."""
        return self.metadata.model.class_names

    def optimize(
        self, *, runtime: RuntimeChoice = "auto", precision: Precision = "float32"
    ) -> "Predictor":
        """The same model in what runs it fastest on its device.

        On the CPU torch, ONNX Runtime and OpenVINO, as far as they are installed, run a few images
        in turn, and the fastest is taken. On a GPU the network is compiled by torch. What was found
        is said on stderr, and the new model's ``runtime.description`` says what it is.

        Args:
            runtime: ``auto``, or the one to take.
            precision: Of the network's arithmetic. ``bf16`` and ``fp16`` are faster where the device
                has them, and change the results a little.

        Raises:
            UsageError: If a runtime that is asked for is not installed, or nothing here can do this,
                or this model is no float32 network in torch that could be converted.
        """
        from yolact.inference.optimize import optimized

        return Predictor(optimized(self.runtime, self.metadata, runtime, precision), self.metadata)

    def export(self, path: str | os.PathLike[str], **settings: Any) -> "Parity":
        """Write the model as a file for another runtime, checked against the model itself.

        Args:
            path: Of the file: ``.onnx``, OpenVINO's ``.xml``, or ``.pt2`` for torch.export.
            settings: Those of :func:`yolact.inference.export.export`, which does it: ``masks="raw"``
                for the network alone, ``pictures`` to check it on, …

        Returns:
            What the check found; :func:`load` takes it like the path.

        Raises:
            ExportError: If the file does not answer like the model; then there is no file.
            UsageError: If a setting is impossible, a library is missing, or the file exists.
        """
        from yolact.inference.export import export

        return export(self, path, **settings)

    @overload
    def __call__(
        self, source: Source, *, score: float = ..., **options: Unpack[DetectionOptions]
    ) -> Result: ...
    @overload
    def __call__(
        self, source: list[Source], *, score: float = ..., **options: Unpack[DetectionOptions]
    ) -> list[Result]: ...
    def __call__(
        self,
        source: Source | list[Source],
        *,
        score: float = DISPLAY_SCORE,
        **options: Unpack[DetectionOptions],
    ) -> Result | list[Result]:
        """Segment one picture, or each of a list.

        Args:
            source: A path, a web address, a PIL image, or an RGB uint8 array (H, W, 3).
            score: Only detections above it, in [0, 1].
            options: ``classes`` (names), ``max_detections``, ``nms``, ``iou_threshold``,
                ``score_threshold``, ``crop`` and ``crop_margin`` in place of the model's own; see
                :class:`yolact.config.detection.DetectionConfig`.

        Raises:
            ImageError: If a picture cannot be read.
            UsageError: If a number is out of range, or the model knows no such class.
        """
        sources = source if isinstance(source, list) else [source]
        results = list(self.stream(sources, score=score, **options))
        return results if isinstance(source, list) else results[0]

    def stream(
        self,
        sources: Iterable[Source],
        *,
        score: float = DISPLAY_SCORE,
        batch_size: int = 1,
        **options: Unpack[DetectionOptions],
    ) -> Iterator[Result]:
        """Segment pictures one after the other, ``batch_size`` at a time through the network."""
        if not 0 <= score <= 1:
            raise UsageError(f"score must lie in [0, 1], not {score}.")
        detection = self.detection(**options)
        waiting = iter(sources)
        while batch := list(islice(waiting, batch_size)):
            pictures = [load_picture(source) for source in batch]
            for given, result in zip(batch, self.detect(pictures, detection), strict=True):
                yield replace(result.filter(score), path=source_path(given))

    def detection(self, **options: Unpack[DetectionOptions]) -> DetectionConfig:
        """The model's own choices of detection, with those given in their place.

        Raises:
            UsageError: If a value is out of range, or the model knows no such class.
        """
        changes: dict[str, Any] = {k: value for k, value in options.items() if value is not None}
        classes = changes.pop("classes", None)
        if classes is not None:
            changes["labels"] = self._labels([classes] if isinstance(classes, str) else classes)
        return replace(self.metadata.detection, **changes)

    def _labels(self, classes: Sequence[str]) -> tuple[int, ...]:
        for name in classes:
            if name not in self.names:
                raise UsageError(
                    f"the model knows no class {name!r}; it knows {', '.join(self.names)}."
                )
        return tuple(label for label, name in enumerate(self.names) if name in classes)

    def detect(
        self, pictures: Sequence[NDArray[np.uint8]], detection: DetectionConfig
    ) -> list[Result]:
        """All detections of RGB uint8 pictures (H, W, 3), not filtered for display."""
        if not pictures:
            return []
        _, found = self.forward(pictures, detection)
        return [
            self.finish(detections, picture)
            for detections, picture in zip(found, pictures, strict=True)
        ]

    def forward(
        self, pictures: Sequence[NDArray[np.uint8]], detection: DetectionConfig
    ) -> tuple[Tensor, list[Detections]]:
        """The network's input (B, 3, H, W) for pictures, and what it detects in each."""
        images = self.preprocessor(pictures).to(self.device)
        return images, self.forward_images(images, detection)[1]

    def forward_images(
        self, images: Tensor, detection: DetectionConfig
    ) -> tuple[Predictions, list[Detections]]:
        """What the network says of inputs (B, 3, H, W) on its device, and what that amounts to."""
        with torch.inference_mode():
            predictions = self.runtime.run(images)
            found = self.postprocess(predictions, detection)
        return predictions, found

    def postprocess(self, predictions: Predictions, detection: DetectionConfig) -> list[Detections]:
        """What raw predictions of a batch amount to, in the frame of the network's input."""
        return postprocess(predictions, self.anchors, detection, self.runtime.mask_scorer)

    def finish(self, detections: Detections, picture: NDArray[np.uint8]) -> Result:
        """What was found in the network's input, in pixels of the picture that it shows."""
        size = (picture.shape[0], picture.shape[1])
        region = self.preprocessor.placement(size).region
        return Result.from_detections(detections, size, self.names, region=region, image=picture)


def predict_files(
    model: Predictor,
    sources: Sequence[str | Path],
    *,
    score: float = DISPLAY_SCORE,
    batch_size: int = 1,
    **options: Unpack[DetectionOptions],
) -> Iterator[tuple[str | Path, Result | ImageError]]:
    """Segment picture files; one that cannot be read yields its error and the rest goes on.

    Args:
        model: What predicts.
        sources: Picture files and web addresses.
        score: Only detections above it, in [0, 1].
        batch_size: Pictures at a time through the network.
        options: As in :meth:`Predictor.__call__`.

    Yields:
        Every source in order with its result or its error.
    """
    for start in range(0, len(sources), batch_size):
        batch = sources[start : start + batch_size]
        pictures = [_read_or_error(source) for source in batch]
        readable = [p for p in pictures if not isinstance(p, ImageError)]
        results = model.stream(readable, score=score, batch_size=batch_size, **options)
        for source, picture in zip(batch, pictures, strict=True):
            if isinstance(picture, ImageError):
                yield source, picture
            else:
                yield source, replace(next(results), path=source_path(source))


def _read_or_error(source: str | Path) -> NDArray[np.uint8] | ImageError:
    try:
        return load_picture(source)
    except ImageError as error:
        return error
