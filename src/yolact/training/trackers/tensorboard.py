"""TensorBoard."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from yolact.evaluation.analysis import Analysis
from yolact.reporting.snapshots import Snapshot
from yolact.training.trackers.panels import (
    PREDICTION_COLUMNS,
    confusion_picture,
    histograms,
    markdown_table,
    precision_curves,
    predictions,
    prototype_sheet,
    views,
)
from yolact.training.trackers.tracker import Start, Status

_RECALLS = np.linspace(0, 1, 101)
_JPEG = [cv2.IMWRITE_JPEG_QUALITY, 90]


class TensorBoard:
    """Event files in ``tensorboard/``; they hold float32."""

    takes_back = True

    def __init__(self) -> None:
        """Import the library."""
        from tensorboard.compat.proto.summary_pb2 import Summary
        from torch.utils.tensorboard import SummaryWriter

        self._open, self._summary = SummaryWriter, Summary

    def start(
        self, folder: Path, settings: Mapping[str, Any], identity: str | None, resume_at: int
    ) -> Start:
        """Settings are a table among the texts; on resume, later events are withdrawn."""
        place = folder / "tensorboard"
        purge = None if identity is None else resume_at + 1
        self._writer: Any = self._open(str(place), purge_step=purge)
        self._step = resume_at
        self._text("settings", markdown_table(("setting", "value"), list(settings.items())))
        return Start(place.name, f"tensorboard --logdir {place}")

    def log(self, step: int, numbers: Mapping[str, float]) -> None:
        """Flushed at once: rows come every few seconds, and a kill must not cost them."""
        for key, value in numbers.items():
            self._writer.add_scalar(key, value, step)
        self._writer.flush()
        self._step = step

    def show(self, snapshot: Snapshot) -> None:
        """Overlays, prototypes, histograms, and the predictions as a table among the texts."""
        self._step = snapshot.step
        for view, explanation in zip(views(snapshot), snapshot.explanations, strict=True):
            self._picture(f"pictures/{view.name}", view.overlay())
            self._picture(f"prototypes/{view.name}", prototype_sheet(explanation))
        for kind, values in histograms(snapshot).items():
            self._writer.add_histogram(f"histograms/{kind}", values, snapshot.step)
        self._text("predictions", markdown_table(PREDICTION_COLUMNS, predictions(snapshot)))

    def show_analysis(self, step: int, analysis: Analysis) -> None:
        """The confusion matrix as a picture, and precision over recall.

        COCO's curve has recalls and the precision there, but no counts, nor is any box truly negative.
        TensorBoard wants both: it is told what comes of a hundred objects, and no true negatives.
        What it calls the threshold of a point is its recall.
        """
        self._step = step
        self._picture("confusion", confusion_picture(analysis))
        for name, curves in precision_curves(analysis):
            for label, precision in curves.items():
                # TensorBoard ends a curve where its counts do.
                true = 100 * _RECALLS * (precision > 0)
                false = true * (1 / np.maximum(precision, 1e-9) - 1)
                nothing = np.zeros_like(true)
                self._writer.add_pr_curve_raw(
                    f"precision_recall/{name}/{label}",
                    *(true.round(), false.round(), nothing, (100 - true).round()),
                    precision,
                    _RECALLS,
                    step,
                    num_thresholds=len(_RECALLS),
                )
        self._writer.flush()

    def finish(self, status: Status) -> None:
        """The status is a text at the last step."""
        self._text("status", status)
        self._writer.close()

    def _text(self, tag: str, text: str) -> None:
        self._writer.add_text(tag, text, self._step)
        self._writer.flush()

    def _picture(self, tag: str, picture: NDArray[np.uint8]) -> None:
        """As a JPEG: what ``add_image`` writes, a PNG, is several times as large."""
        _, data = cv2.imencode(".jpg", np.ascontiguousarray(picture[..., ::-1]), _JPEG)
        height, width = picture.shape[:2]
        image = self._summary.Image(
            height=height, width=width, colorspace=3, encoded_image_string=data.tobytes()
        )
        value = self._summary.Value(tag=tag, image=image)
        self._writer.file_writer.add_summary(self._summary(value=[value]), self._step)
