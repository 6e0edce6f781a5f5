"""Weights & Biases."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from yolact.evaluation.analysis import Analysis
from yolact.reporting.snapshots import Snapshot
from yolact.results import Result
from yolact.training.trackers.panels import (
    PREDICTION_COLUMNS,
    View,
    class_map,
    confusion_rows,
    histograms,
    precision_curves,
    predictions,
    prototype_sheet,
    views,
)
from yolact.training.trackers.tracker import PROJECT, Start, Status, environment

_MOST_CLASSES = 255  # a mask is a picture with a byte a pixel


class WeightsAndBiases:
    """A W&B run in ``wandb/``: offline unless WANDB_MODE says otherwise.

    Every row is a row of W&B's history, with our ``step`` in it as the axis of every chart: W&B's own
    count refuses to go back, which a resumed run may have to.
    """

    takes_back = False

    def __init__(self) -> None:
        """Import the library."""
        with environment(WANDB_ERROR_REPORTING="false"):
            import wandb
        self._wandb = wandb

    def start(
        self, folder: Path, settings: Mapping[str, Any], identity: str | None, resume_at: int
    ) -> Start:
        """Nothing is asked on a terminal unless the user wants to go online."""
        mode: Any = os.environ.get("WANDB_MODE", "offline")
        # Otherwise W&B reports on itself to its maker, even offline.
        with environment(WANDB_ERROR_REPORTING="false"):
            self._run = self._wandb.init(
                mode=mode,
                dir=os.environ.get("WANDB_DIR", str(folder)),
                project=os.environ.get("WANDB_PROJECT", PROJECT),
                name=os.environ.get("WANDB_NAME", folder.name),
                id=identity,
                resume=None if identity is None else "allow",
                config=dict(settings),
                allow_val_change=True,
                settings=self._wandb.Settings(
                    console="off",  # stdout belongs to the result
                    silent=True,
                    reinit="create_new",  # a run that the user has open stays the user's
                ),
            )
        self._run.define_metric("*", step_metric="step")
        if self._run.offline:
            runs = Path(self._run.dir).parent.parent / "offline-run-*"
            return Start(self._run.id, f"offline; to upload: wandb sync {runs}")
        return Start(self._run.id, self._run.url or self._run.dir)

    def log(self, step: int, numbers: Mapping[str, float]) -> None:
        """One row of history."""
        self._run.log({"step": step, **numbers})

    def show(self, snapshot: Snapshot) -> None:
        """One row of history: pictures with masks and boxes, prototypes, a table, histograms."""
        pairs = list(zip(views(snapshot), snapshot.explanations, strict=True))
        sheets = [(view.name, prototype_sheet(explanation)) for view, explanation in pairs]
        table = self._wandb.Table(list(PREDICTION_COLUMNS), predictions(snapshot))
        counts = {
            f"histograms/{kind}": self._wandb.Histogram(values)
            for kind, values in histograms(snapshot).items()
        }
        self._run.log(
            {
                "step": snapshot.step,
                "pictures": [self._picture(view) for view, _ in pairs],
                "prototypes": [
                    self._wandb.Image(sheet, caption=name, file_type="jpg")
                    for name, sheet in sheets
                ],
                "predictions": table,
                **counts,
            }
        )

    def show_analysis(self, step: int, analysis: Analysis) -> None:
        """One row of history with W&B's own charts: line series, and a confusion matrix."""
        plot = self._wandb.plot
        recalls = [percent / 100 for percent in range(101)]
        charts = {
            f"precision_recall/{name}": plot.line_series(
                recalls,
                [curve.tolist() for curve in curves.values()],
                keys=list(curves),
                title=f"precision over recall, {name}",
                xname="recall",
            )
            for name, curves in precision_curves(analysis)
        }
        columns = ["Actual", "Predicted", "nPredictions"]  # the names that W&B's chart knows
        confusion = self._wandb.plot_table(
            "wandb/confusion_matrix/v1",
            self._wandb.Table(columns, [list(row) for row in confusion_rows(analysis)]),
            {name: name for name in columns},
            {"title": f"found above {analysis.score:g}, by mask IoU {analysis.iou:g}"},
        )
        self._run.log({"step": step, **charts, "confusion": confusion})

    def finish(self, status: Status) -> None:
        """The status stands in the summary, and W&B's own follows from the exit code."""
        self._run.summary["status"] = status
        self._run.finish(exit_code={"finished": 0, "interrupted": 130, "failed": 1}[status])

    def _picture(self, view: View) -> Any:
        names = dict(enumerate(view.found.names, 1))
        masks = {
            kind: {"mask_data": class_map(objects), "class_labels": {0: "background", **names}}
            for kind, objects in (("prediction", view.shown), ("truth", view.truth))
            if len(names) <= _MOST_CLASSES
        }
        boxes = {
            kind: {"box_data": _boxes(objects), "class_labels": names}
            for kind, objects in (("prediction", view.found), ("truth", view.truth))
        }
        return self._wandb.Image(
            view.image, caption=view.name, masks=masks or None, boxes=boxes, file_type="jpg"
        )


def _boxes(objects: Result) -> list[dict[str, Any]]:
    """All of them: W&B filters by score itself."""
    return [
        {
            "position": dict(zip(("minX", "minY", "maxX", "maxY"), box.tolist(), strict=True)),
            "domain": "pixel",
            "class_id": int(label) + 1,
            "box_caption": objects.names[label],
            "scores": {"score": float(score)},
        }
        for box, label, score in zip(objects.boxes, objects.labels, objects.scores, strict=True)
    ]
