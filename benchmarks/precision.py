"""What fewer bits cost in AP and gain in time, in the runtimes that are here: the table of docs/int8.md.

    python benchmarks/precision.py runs/yolact-nano data

Each row is one model as users load it, on the CPU; int8 as ``yolact export --int8`` makes it. The times are
medians of runs in turn, one picture at a time.
"""

import argparse
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from yolact.config.export import FORMATS, MAX_DROP
from yolact.config.runtime import Precision, RuntimeName
from yolact.data.images import read_image
from yolact.errors import YolactError
from yolact.evaluation.coco import Metrics
from yolact.inference.evaluate import evaluate_model
from yolact.inference.export import export
from yolact.inference.load import load
from yolact.inference.predictor import Predictor
from yolact.inference.quantization import choose_pictures
from yolact.inference.timing.measure import measure_together
from yolact.inference.timing.timed_predictor import TimedPredictor
from yolact.inference.timing.timeline import Timeline

RUNTIMES: tuple[RuntimeName, ...] = ("torch", "onnxruntime", "openvino")
PRECISIONS: tuple[Precision, ...] = ("float32", "bf16")


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="run directory, artifact or original file")
    parser.add_argument("data", type=Path, help="data set with train and val split")
    parser.add_argument("--pictures", type=int, default=5, help="to time")
    parser.add_argument("--repeats", type=int, default=10, help="runs of each on each picture")
    parser.add_argument("--max-drop", type=float, default=MAX_DROP, help="points of AP for int8")
    arguments = parser.parse_args()
    chosen = choose_pictures(arguments.data)
    with tempfile.TemporaryDirectory() as folder:
        models = {"reference float32": load(arguments.model, device="cpu", runtime="reference")}
        models |= floats(arguments.model)
        for name, suffix in (("onnxruntime", FORMATS["onnx"]), ("openvino", FORMATS["openvino"])):
            try:
                file = export(
                    load(arguments.model, device="cpu"),
                    Path(folder, f"int8{suffix}"),
                    masks="raw",
                    int8=chosen,
                    max_drop=arguments.max_drop,
                )
            except YolactError as error:
                sys.stderr.write(f"{name} int8: {error}\n")
                continue
            assert file.int8 is not None
            kept = file.int8.trials[-1].kept
            rest = "" if kept == "nothing" else f", in float32: {kept}"
            models[f"{name} int8{rest}"] = load(file, device="cpu")
        shown = chosen.measured.records[: arguments.pictures]
        timelines = measure_together(
            [TimedPredictor(model, name) for name, model in models.items()],
            [read_image(record.path) for record in shown],
            repeats=arguments.repeats,
        )
        found = [
            evaluate_model(model, model.detection(), chosen.measured, batch_size=1).compute()
            for model in models.values()
        ]
    print("| | mask AP | box AP | network ms | to masks ms | times as fast |")
    print("|---|---|---|---|---|---|")
    for line in rows(timelines, found):
        print(line)
    print(f"\n{timelines[0].device}; {len(chosen.measured.records)} pictures for AP")


def floats(name: str) -> dict[str, Predictor]:
    """The model in every runtime and precision without quantising that is to be had here."""
    models = {}
    for runtime in RUNTIMES:
        for precision in PRECISIONS:
            try:
                model = load(name, device="cpu", runtime=runtime, precision=precision)
            except YolactError as error:
                sys.stderr.write(f"{runtime} {precision}: {error}\n")
            else:
                models[f"{runtime} {precision}"] = model
    return models


def rows(timelines: list[Timeline], found: list[Metrics]) -> Iterator[str]:
    """Of a Markdown table."""
    for timeline, metrics in zip(timelines, found, strict=True):
        numbers = (
            *(f"{100 * (shape.ap or 0):.2f}" for shape in (metrics.mask, metrics.box)),
            *(f"{1000 * each:.1f}" for each in (timeline.network_seconds, timeline.seconds)),
            f"{timelines[0].seconds / timeline.seconds:.1f}",
        )
        yield f"| {timeline.model} | {' | '.join(numbers)} |"


if __name__ == "__main__":
    main()
