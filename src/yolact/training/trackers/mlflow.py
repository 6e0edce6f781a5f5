"""MLflow."""

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from yolact.evaluation.analysis import Analysis
from yolact.reporting.snapshots import Snapshot
from yolact.training.trackers.panels import (
    PREDICTION_COLUMNS,
    confusion_picture,
    markdown_table,
    predictions,
    prototype_sheet,
    views,
)
from yolact.training.trackers.tracker import PROJECT, Start, Status, environment

_LONGEST_PARAMETER = 6000  # characters; MLflow takes no more


class MLflow:
    """An MLflow run in the file store ``mlruns/``, or where MLFLOW_TRACKING_URI points."""

    takes_back = False

    def __init__(self) -> None:
        """Import the library."""
        with environment(MLFLOW_DISABLE_TELEMETRY="true"):
            from mlflow.entities import Metric
            from mlflow.tracking import MlflowClient
        self._open, self._metric = MlflowClient, Metric

    def start(
        self, folder: Path, settings: Mapping[str, Any], identity: str | None, resume_at: int
    ) -> Start:
        """Parameters are those of the first start: MLflow does not let them change."""
        store = (folder / "mlruns").absolute().as_uri()
        uri = os.environ.get("MLFLOW_TRACKING_URI", store)
        # MLflow keeps its file store as it is and wants to hear that this is known.
        with environment(MLFLOW_ALLOW_FILE_STORE="true"):
            self._client = self._open(tracking_uri=uri)
        if identity is None:
            name = os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT)
            known = self._client.get_experiment_by_name(name)
            experiment = known.experiment_id if known else self._client.create_experiment(name)
            self._run = self._client.create_run(experiment, run_name=folder.name).info.run_id
            for key, value in settings.items():
                self._client.log_param(self._run, key, str(value)[:_LONGEST_PARAMETER])
        else:
            self._run = identity
            self._client.update_run(self._run, status="RUNNING")
        return Start(self._run, f"run {self._run} in {uri}")

    def log(self, step: int, numbers: Mapping[str, float]) -> None:
        """One batch."""
        now = int(time.time() * 1000)
        metrics = [self._metric(key, value, now, step) for key, value in numbers.items()]
        self._client.log_batch(self._run, metrics=metrics)

    def show(self, snapshot: Snapshot) -> None:
        """Artifacts in a folder of the step: overlays, prototypes, and the predictions as a table."""
        place = f"snapshots/{snapshot.step:08d}"
        pairs = zip(views(snapshot), snapshot.explanations, strict=True)
        for number, (view, explanation) in enumerate(pairs, 1):
            sheet = prototype_sheet(explanation)
            self._client.log_image(self._run, view.overlay(), f"{place}/picture_{number}.jpg")
            self._client.log_image(self._run, sheet, f"{place}/prototypes_{number}.jpg")
        table = markdown_table(PREDICTION_COLUMNS, predictions(snapshot))
        self._client.log_text(self._run, table, f"{place}/predictions.md")

    def show_analysis(self, step: int, analysis: Analysis) -> None:
        """The confusion matrix as a picture."""
        place = f"analysis/{step:08d}/confusion.jpg"
        self._client.log_image(self._run, confusion_picture(analysis), place)

    def finish(self, status: Status) -> None:
        """MLflow has a word for each."""
        words = {"finished": "FINISHED", "interrupted": "KILLED", "failed": "FAILED"}
        self._client.set_terminated(self._run, words[status])
