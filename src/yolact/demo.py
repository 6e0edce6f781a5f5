"""The whole story on generated pictures: make data, train, evaluate, predict."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from yolact.data.generate import generate_dataset
from yolact.errors import UsageError
from yolact.evaluation.coco import Metrics
from yolact.inference.evaluate import evaluate
from yolact.inference.load import load
from yolact.inference.predictor import predict_files
from yolact.inference.sinks import ResultWriter
from yolact.results import Result
from yolact.training.run import train

NUM_TRAIN = 1200
NUM_VAL = 100
NUM_OVERLAYS = 24
STEPS = 800
TRAINING_TIME = "00:03:40"  # at most
IMAGE_SIZE = 192  # pixels; the pictures are 320x240, so little is lost and much time is saved


@dataclass(frozen=True)
class DemoOutcome:
    """Where everything is, and how good the model became."""

    data: Path
    run: Path
    overlays: Path
    report: Path
    metrics: Metrics


def run_demo(out: Path, *, max_time: str, device: str, say: Callable[[str], None]) -> DemoOutcome:
    """Run the demo in a new folder.

    Args:
        out: Must not exist, or be empty.
        max_time: For the training at most, HH:MM:SS.
        device: To train and predict on.
        say: Told what happens next.

    Raises:
        UsageError: If ``out`` holds something.
    """
    if out.exists() and any(out.iterdir()):
        raise UsageError(f"{out} is not empty: the demo wants a folder of its own (--out).")
    data, folder, overlays = out / "data", out / "run", out / "predictions"
    say(f"1/4  generating {NUM_TRAIN + NUM_VAL} pictures in {data}")
    generate_dataset(data, num_train=NUM_TRAIN, num_val=NUM_VAL, seed=0)

    say(f"2/4  training yolact-nano from random weights, {STEPS} steps or {max_time}")
    run = train(
        data,
        model="yolact-nano",
        out=folder,
        size=IMAGE_SIZE,
        steps=STEPS,
        max_time=max_time,
        validations=4,
        device=device,
    )
    if run.interrupted:
        raise KeyboardInterrupt

    say(f"3/4  evaluating on {NUM_VAL} pictures it has not seen")
    model = load(folder, device=device)
    metrics = evaluate(model, data, batch_size=8)

    say(f"4/4  drawing {NUM_OVERLAYS} predictions")
    writer = ResultWriter(overlays, ("overlay", "json"), model.metadata.category_ids)
    paths = sorted((data / "images").glob("val_*"))[:NUM_OVERLAYS]
    for _, result in predict_files(model, paths, score=0.3, batch_size=8):
        assert isinstance(result, Result)  # pictures just written can be read
        writer.write(result)
    writer.close()
    return DemoOutcome(data, folder, overlays, run.report, metrics)
